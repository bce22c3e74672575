"""The controllers of the cluster: each looks at everything after every change, and at the times it named itself."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from tests.fakes.kubernetes_api.store import Store


class Controller(Protocol):
    """Brings what is nearer to what is wanted, a step at a time."""

    def reconcile(self, now: float) -> float:
        """Do what is to be done at this time; the result is when to look again though nothing changed."""


async def run_controllers(store: Store, controllers: Sequence[Controller]) -> None:
    """Until cancelled."""
    while True:
        version = store.version
        look_at = min(controller.reconcile(time.time()) for controller in controllers)
        if store.version != version:
            await asyncio.sleep(0)  # others see each step
            continue
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(look_at - time.time(), 3600.0))):
                await store.moved()
