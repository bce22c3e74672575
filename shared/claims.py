"""Taking launches, one at a time, each in the moment a process is free for it."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any, TypeAlias

import structlog
from redis.exceptions import ResponseError

from shared import agents
from shared.contract import CLAIMS, Failed, Failure, Reason, launch_streams
from shared.errors import BadEntry, Unavailable
from shared.launches import Claim, EntryId, Launches, after, decode
from shared.redis.blocking_reader import BlockingReader
from shared.redis.connection import BLOCK_S, Redis
from shared.redis.streams import Fields
from shared.script import Script
from shared.sealing import UNSEALED, Seals
from shared.waiting import happens_within

log = structlog.get_logger()

WAITING = 128
"""How many runners wait for a launch at the server, at most and on average."""

Given: TypeAlias = tuple[str, EntryId, Fields]
"""A launch as the server gives it, with the stream that it stands in."""


def waits_at_the_server(consumers: int, chance: float) -> bool:
    """Whether one of so many consumers waits for a launch at the server; `chance` is between 0 and 1.

    Each entry makes a server look at everyone who waits for it, which takes Valkey 1.4 µs for each. So of a large fleet
    about `WAITING` do; the others look now and then, and as they are many, one of them looks soon.
    """
    return chance * consumers < WAITING


class Claims:
    """One runner's claims of the launches of the agents that it has.

    An answer can be lost with its connection, and then the server has given a lease that nobody knows of. After any
    such failure the next claim begins with a look at what this runner holds. So the client must not repeat a read by
    itself: connect it without retries.
    """

    def __init__(
        self, redis: Redis, holder: str, served: Sequence[str] = (agents.DEFAULT,), seals: Seals = UNSEALED
    ) -> None:
        self._reader = BlockingReader(redis, CLAIMS, holder)
        self._launches = Launches(redis, served, seals)
        self._claim = Script(redis, "claim")
        self._streams = launch_streams(served)
        self._holder = holder
        self._known: set[EntryId] = set()
        self._certain = False
        self._stopping = asyncio.Event()

    def serve(self, agents: Sequence[str]) -> None:
        """Take launches of these agents alone, none of which may be beyond those of the beginning, from the next on."""
        self._streams = launch_streams(agents)

    async def next(self, wait_s: float = BLOCK_S) -> Claim | None:
        """The oldest launch that nobody has, with its lease; a later attempt comes before any fresh launch.

        None when the time is up, or claiming has been stopped.

        Raises:
            Unavailable: Redis does not answer.
        """
        try:
            found = await self._find(wait_s)
            claim = await self._readable(*found) if found else None
        except Unavailable:
            self._certain = False  # whatever has been given by now
            raise
        if claim is not None:
            self._known.add(claim.entry)
        return claim

    def done(self, claim: Claim) -> None:
        """This runner has no more to do with the claim."""
        self._known.discard(claim.entry)

    async def stop(self) -> None:
        """Claim nothing more; a wait for a launch ends.

        Raises:
            Unavailable: Redis does not answer.
        """
        self._stopping.set()
        await self._reader.call_back()

    async def aclose(self) -> None:
        """Let go of the connection."""
        await self._reader.aclose()

    async def _find(self, wait_s: float) -> Given | None:
        if not self._certain:
            await self._launches.ensure_group(CLAIMS)
            unknown = [found for found in await self._launches.held(self._holder) if found[1] not in self._known]
            if unknown:
                return await self._young(unknown[0])
            self._certain = True
        try:
            found = await self._given(wait_s)
        except ResponseError as error:
            self._certain = False
            if not str(error).startswith("NOGROUP"):
                raise
            return None
        # A read that waits on several streams may give one of each, and there is a process for one.
        for given in found[1:]:
            await self._give_back(*given)
        return found[0] if found else None

    async def _given(self, wait_s: float) -> list[Given]:
        """What waits already, in its order; if nothing does, what comes first."""
        if not self._streams:
            await happens_within(self._stopping, wait_s)
        if self._stopping.is_set() or not self._streams:
            return []
        at_once: Any = await self._claim([*self._streams], [CLAIMS, self._holder])
        if len(at_once) > 1:
            stream, entry, *pairs = at_once
            return [(stream, EntryId(entry), dict(zip(pairs[::2], pairs[1::2], strict=True)))]
        # Who has no time to look once more, as a cold runner, does not stand back.
        if wait_s >= BLOCK_S and not waits_at_the_server(int(at_once[0]), random.random()):  # noqa: S311
            await happens_within(self._stopping, wait_s)
            return []
        answer = await self._reader.read(self._wanted, count=1, block_s=wait_s)
        return [(stream, EntryId(entry), fields) for stream, entries in answer for entry, fields in entries]

    async def _readable(self, stream: str, entry: EntryId, fields: Fields) -> Claim | None:
        """What was given, as a claim; what nobody can read is dropped."""
        try:
            launch = decode(fields, stream)
        except BadEntry as error:
            log.error("launch_unreadable", entry=entry, error=str(error))  # noqa: TRY400 - the trace says no more
            await self._launches.discard(entry, self._holder, fields, stream=stream)
            return None
        try:
            opened = self._launches.opened(launch) if launch.sealed else None
        except BadEntry as error:
            await self._fail_sealed(Claim(entry, launch), f"the launch is {error}")
            return None
        return Claim(entry, launch, opened)

    async def _fail_sealed(self, claim: Claim, why: str) -> None:
        """No attempt would fare better before somebody has looked at the keys: it can be redriven then."""
        session_id, attempt = claim.launch.session_id, claim.launch.attempt
        log.error("launch_sealed", session_id=session_id, attempt=attempt, why=why)
        failed = Failed(session_id=session_id, attempt=attempt, reason=Reason.UNREADABLE, message=why)
        await self._launches.settle(claim, self._holder, failed)

    async def _give_back(self, stream: str, entry: EntryId, fields: Fields) -> None:
        claim = await self._readable(stream, entry, fields)
        if claim is None:
            return
        attempt = claim.launch.attempt
        failure = Failure(attempt=attempt, reason=Reason.RUNNER_STOPPED, message="claimed with another launch")
        await self._launches.settle(claim, self._holder, after(claim.launch, failure, attempt + 1))

    async def _young(self, given: Given) -> Given | None:
        """A launch that was held for a while unknown, if its lease is still ours; then it is as young as a new one."""
        return None if await self._launches.renew(self._holder, [given[1]]) else given

    def _wanted(self) -> dict[str, str]:
        """Asked in the moment of reading: a stop must not be overtaken by a read that was already on its way."""
        return {} if self._stopping.is_set() else dict.fromkeys(self._streams, ">")
