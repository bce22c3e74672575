"""When bots say that their function was entered."""

import asyncio
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


class Entered:
    """Datagrams of `<number> <monotonic ns>`, by number."""

    def __init__(self, address: str, end: socket.socket) -> None:
        self.address = address
        """For the bots' BENCH_ENTERED."""
        self._end = end
        self._at: dict[int, asyncio.Future[int]] = {}

    def take(self) -> None:
        """Take what has arrived."""
        while True:
            try:
                number, at = self._end.recv(100).split()
            except BlockingIOError:
                return
            future = self._of(int(number))
            if not future.done():
                future.set_result(int(at))

    async def at(self, number: int, within_s: float = 30.0) -> int:
        """The time in ns at which this launch's bot was entered first."""
        async with asyncio.timeout(within_s):
            return await self._of(number)

    def _of(self, number: int) -> "asyncio.Future[int]":
        return self._at.setdefault(number, asyncio.get_running_loop().create_future())


@asynccontextmanager
async def listening() -> AsyncIterator[Entered]:
    """Listens on a socket of its own."""
    loop = asyncio.get_running_loop()
    with (
        tempfile.TemporaryDirectory(prefix="pipefleet-bench-") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end,
    ):
        address = os.fspath(Path(folder) / "entered")
        end.bind(address)
        end.setblocking(False)
        entered = Entered(address, end)
        loop.add_reader(end, entered.take)
        try:
            yield entered
        finally:
            loop.remove_reader(end)
