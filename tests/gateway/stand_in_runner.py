"""The runner's side, step by step, with the operations that runners use."""

from typing import Any

from shared import launches
from shared.commands import Received
from shared.contract import (
    CLAIMS,
    AnyEvent,
    Ended,
    Failed,
    Failure,
    Outcome,
    Reason,
    Reply,
    Running,
    Starting,
    launch_streams,
)
from shared.inbox import Inbox
from shared.launches import Claim, EntryId, Launches
from shared.redis.connection import Redis
from shared.redis.streams import read_group


class StandInRunner:
    """Does nothing by itself."""

    def __init__(self, redis: Redis, name: str) -> None:
        self.name = name
        self._redis = redis
        self.launches = Launches(redis)
        self.inbox = Inbox(redis, name)

    async def claim(self) -> Claim:
        """Take the oldest launch."""
        claim = await self.try_to_claim(wait_s=5)
        assert claim, "nothing to claim"
        return claim

    async def try_to_claim(self, wait_s: float) -> Claim | None:
        """The same, or None when there is nothing to claim in this time."""
        await self.launches.ensure_group(CLAIMS)
        streams = dict.fromkeys(launch_streams([""]), ">")
        found = await read_group(self._redis, CLAIMS, self.name, streams, count=1, block_s=wait_s)
        claims = [Claim(EntryId(entry), launches.decode(fields)) for _, entries in found for entry, fields in entries]
        return claims[0] if claims else None

    async def report(self, claim: Claim, event: AnyEvent) -> None:
        assert await self.launches.report(claim, self.name, event)

    async def starting(self) -> Claim:
        """Take the oldest launch and say so."""
        claim = await self.claim()
        start = Starting(**_who(claim), runner=self.name, start="warm")
        await self.report(claim, start)
        return claim

    async def running(self) -> Claim:
        """Take the oldest launch and bring its bot into the room."""
        claim = await self.starting()
        await self.report(claim, Running(**_who(claim)))
        return claim

    async def end(self, claim: Claim, reason: Reason) -> None:
        outcome = await self.launches.finish(claim.entry, self.name, claim.launch, Ended(**_who(claim), reason=reason))
        assert outcome == "finished"

    async def fail(self, claim: Claim, reason: Reason, message: str) -> None:
        failed = Failed(**_who(claim), reason=reason, message=message)
        assert await self.launches.settle(claim, self.name, failed)

    async def lose(self, claim: Claim, reason: Reason) -> EntryId:
        """The attempt comes to nothing; the next one waits."""
        following = launches.after(claim.launch, Failure(attempt=claim.launch.attempt, reason=reason), 3)
        assert not isinstance(following, Failed)
        entry = await self.launches.requeue(claim.entry, self.name, following)
        assert entry
        return entry

    async def command(self, claim: Claim) -> tuple[str, Received]:
        """The next command to the claim's bot, whenever it was sent."""
        for entry, command in await self.inbox.open(claim.launch.session_id):
            return entry, command
        while True:
            for _, entry, command in await self.inbox.read():
                return entry, command

    async def reply(self, claim: Claim, entry: str, command: Received, outcome: Outcome, **more: Any) -> None:
        reply = Reply(command_id=command.command_id, outcome=outcome, **more)
        launch = claim.launch
        await self.inbox.reply(launch.session_id, entry, command, reply, attempt=launch.attempt)


def _who(claim: Claim) -> dict[str, Any]:
    return {"session_id": claim.launch.session_id, "attempt": claim.launch.attempt}
