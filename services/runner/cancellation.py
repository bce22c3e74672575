"""Telling whose doing a cancellation is: a bot's code may raise `CancelledError` by itself."""

import asyncio


def told_to_stop() -> bool:
    """Whether this task is being cancelled by us, and not by the bot's own doing."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
