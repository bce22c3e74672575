"""One process of the fleet that `make up` runs: what it says is heard, and its end is noticed."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections import deque
from contextlib import suppress
from pathlib import Path

from shared.process.lifecycle import signal_name

LAST_LINES = 8
LONGEST_LINE = 2**16
"""A longer one is broken."""


class Part:
    """One process of the fleet; its output goes to ours, line by line, behind its name."""

    def __init__(self, kind: str, number: int, process: Process, colour: str) -> None:
        self.kind = kind
        self.name = f"{kind} {number}" if number > 1 else kind
        self.pid = process.pid
        self.replaced = False
        """Its end is no failure."""
        self.log: Path | None = None
        """Where it writes instead."""
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._process = process
        self._relay = asyncio.create_task(self._pass_on(colour))
        self.ended = asyncio.create_task(self._wait())
        """Gives its exit code."""

    def signal(self, number: signal.Signals) -> None:
        """To the part's first process alone."""
        if not self.ended.done():
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    def dismiss(self) -> None:
        """Another does its work from now on: it is to finish what it has in hand."""
        self.replaced = True
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """With everything in its session."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def how_it_ended(self) -> str:
        """The rest of a sentence."""
        code = self.ended.result()
        return f"exited with code {code}" if code >= 0 else f"was killed by {signal_name(-code)}"

    async def close(self) -> None:
        """Wait for its end, and stop listening."""
        await asyncio.wait({self.ended})
        self._relay.cancel()
        await asyncio.wait({self._relay})

    async def _wait(self) -> int:
        code = await self._process.wait()
        # What it still had to say is heard, if nobody else keeps its output open.
        await asyncio.wait({self._relay}, timeout=0.5)
        return code

    async def _pass_on(self, colour: str) -> None:
        reset = "\x1b[0m" if colour else ""
        assert self._process.stdout  # noqa: S101 - it was asked for
        rest = b""
        # By hand: `readline` gives up on a line that is too long, and a pipe that nobody empties stops who fills it.
        while chunk := await self._process.stdout.read(LONGEST_LINE):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > LONGEST_LINE:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._say(line, colour, reset)
        if rest:
            self._say(rest, colour, reset)

    def _say(self, line: bytes, colour: str, reset: str) -> None:
        text = line.decode(errors="replace").rstrip()
        self.last_lines.append(text)
        say(f"{colour}{self.name:<10} |{reset} {text}")


def say(line: str) -> None:
    """Write a line for the user, if anyone still reads."""
    # A bot may say what the terminal's encoding has no character for.
    encoding = sys.stdout.encoding or "utf-8"
    with suppress(OSError):
        sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stdout.flush()
