"""What a bot prints, and what native libraries write in its process: lines of the log, with session and attempt.

The process writes into a file in memory that the supervisor reads. So a write never waits for anybody, and succeeds
also without a supervisor; and the last words of a process that crashed are there when it is gone. What our own log
says goes straight to the runner's standard error, as ever.
"""

import asyncio
import fcntl
import os
import sys
import time
from collections import deque
from contextlib import suppress

import structlog

from services.runner.allowance import Allowance
from services.runner.logs.spellings import spellings, struck_out

LOOK_EVERY_S = 0.5
PER_S = 50.0
AT_ONCE = 200
"""How many lines a process may have in the log: so many per second, and so many at once."""
LONGEST_LINE = 4_000
KEPT_BYTES = 1024 * 1024
"""The file is emptied when so much of it has been read, and what is more than this behind is skipped."""
LAST_LINES = 50
"""So many of the last lines of a process are logged, however many it had: they may tell what it died of."""

log = structlog.get_logger("bot")


class BotOutput:
    """The supervisor's end. The other is `fd`, which the process gets."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("bot-output")
        # Of the open file, which both sides share: whoever writes, writes at the end.
        fcntl.fcntl(self.fd, fcntl.F_SETFL, os.O_APPEND)
        self._read = 0
        self._rest = b""
        self._secrets: set[str] = set()
        self._log = log
        self._allowance = Allowance(PER_S, AT_ONCE)
        self._left_out = 0
        self._latest: deque[str] = deque(maxlen=LAST_LINES)
        """The last ones of those that were left out since a line was logged."""

    def whose(self, token: str | None, **fields: str | int) -> None:
        """Name the session in each line from now on, and strike its token out of all."""
        self._log = log.bind(**fields)
        if token:
            self.hide(token)

    def hide(self, secret: str) -> None:
        """Strike this out, too."""
        self._secrets |= spellings(secret)

    async def run(self) -> None:
        """Look at it now and then, until it is closed."""
        while self.fd >= 0:
            self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    def look(self, *, last: bool = False) -> None:
        """Log the lines that are new; with `last` also one that has no end."""
        size = os.fstat(self.fd).st_size
        if size < self._read:
            self._read = 0  # somebody has opened /dev/stdout to write, as `> /dev/stdout` does, and so emptied it
        if size - self._read > KEPT_BYTES:
            self._log.warning("bot_output_skipped", bytes=size - self._read - KEPT_BYTES)
            self._read, self._rest = size - KEPT_BYTES, b""
        if size > self._read:
            new = os.pread(self.fd, size - self._read, self._read)
            self._read += len(new)
            if self._read >= KEPT_BYTES:
                # What comes between the read and this is lost, of a process that writes a lot.
                os.ftruncate(self.fd, 0)
                self._read = 0
            *lines, self._rest = (self._rest + new).split(b"\n")
            self._rest = self._rest[-KEPT_BYTES:]
            for line in lines:
                self._say(line)
        if last:
            self._say(self._rest)
            self._rest = b""
            self._left_out -= len(self._latest)
            while self._latest:
                self._write(self._latest.popleft())

    def close(self) -> None:
        """The process is gone: log what is left."""
        self.look(last=True)
        os.close(self.fd)
        self.fd = -1

    def _say(self, line: bytes) -> None:
        said = line.decode(errors="replace").rstrip()
        if not said:
            return
        if self._allowance.take(time.monotonic()):
            self._write(said)
            self._latest.clear()
        else:
            self._left_out += 1
            self._latest.append(said[: LONGEST_LINE * 2])

    def _write(self, said: str) -> None:
        said = struck_out(said, self._secrets)
        told = {"dropped": self._left_out} if self._left_out else {}
        self._left_out = 0
        self._log.info("bot_output", said=said[:LONGEST_LINE], **told)


def write_into(fd: int) -> int:
    """Let this process's standard output and error go there from now on; gives what was its standard error."""
    straight = os.dup(2)
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        # What a bot has put there on its import may have neither.
        with suppress(Exception):
            stream.flush()
        os.dup2(fd, number)
        # A line is seen when it is written, and not when there are many.
        with suppress(Exception):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os.close(fd)
    return straight
