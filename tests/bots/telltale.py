"""A bot that fails, and says in its error what opens its room: as it is, and as it stands in an address."""

import json
import os
from urllib.parse import quote

from loguru import logger
from pipecat.runner.types import RunnerArguments


async def bot(args: RunnerArguments) -> None:
    """Complain, or stay if the body says so."""
    token = getattr(args, "token", None) or (args.body or {}).get("token", "")
    logger.info(f"about to join with {token}")
    logger.debug(f"GET https://example.daily.co/room?t={quote(token, safe='')}")
    # For people, what a bot prints is shown as it is.
    if os.environ["LOG_FORMAT"] == "json":
        print(json.dumps({"token": token}), quote(token), repr(token))  # noqa: T201 - as bots do
    raise LookupError(f"cannot join with {token!r}, ?t={quote(token, safe='')}")
