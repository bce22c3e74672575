"""The way of a launch through Redis: offered, claimed, renewed, put back, finished.

Each change is one script, so it happens whole or not at all, and only for whoever may make it.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, NewType, TypeAlias

import msgspec

from shared import agents, contract, known_agents
from shared.contract import (
    AGENTS,
    CLAIMS,
    DEAD,
    EVENTS,
    EVENTS_KEPT,
    FIELD,
    AnyEvent,
    DeadLetter,
    Ended,
    Failed,
    Failure,
    Launch,
    Queued,
    Reason,
    launch_stream,
    launch_streams,
)
from shared.errors import BadEntry
from shared.events import History, history
from shared.redis.coalesced import Coalesced
from shared.redis.connection import Redis, translated
from shared.redis.entries import Decoder, encode, order
from shared.redis.streams import Fields, between, ensure_group, read_group
from shared.script import Script
from shared.sealing import UNSEALED, Seals
from shared.tracing import traces

UNREADABLE_KEPT = 100_000
"""How much is kept of a launch that nobody can read."""
LIVE_AT_ONCE = 500
"""How many launches are read in one round trip."""

EntryId = NewType("EntryId", str)
"""The id of a launch entry: it names one attempt of one session."""

Standing: TypeAlias = Literal["waiting", "taken", "gone"]
"""A launch that no runner has yet; one that a runner has; one whose attempt is over."""

Finished: TypeAlias = Literal["finished", "gone", "held"]
"""`gone`: there is no such launch. `held`: its lease is another's, or younger. Only the first changed anything."""


class _Whose(msgspec.Struct, frozen=True):
    """What even an unreadable launch should tell."""

    session_id: str
    room_url: str
    attempt: int = 1


_launch = Decoder[Launch](Launch)
_whose = Decoder[_Whose](_Whose)


@dataclass(frozen=True)
class Offered:
    """What became of an offer. `session_id` is the room's session; empty for `full`, a queue without a place.

    `gone` is an offer in the place of a dead letter that is not there any more.
    """

    outcome: Literal["queued", "reused", "full", "gone"]
    session_id: str
    depth: int


@dataclass(frozen=True)
class Claim:
    """A launch in the hands of a runner that holds its lease."""

    entry: EntryId
    launch: Launch
    opened: Launch | None = None
    """As its bot gets it, where `launch` is sealed and whoever claimed it has the keys."""


@dataclass(frozen=True)
class Lease:
    """A claimed launch as the lease table has it."""

    entry: EntryId
    holder: str
    age_ms: int


def queued(launch: Launch) -> Queued:
    """The event that announces a launch; for a later attempt, with the reason of the last failure."""
    last = launch.failures[-1] if launch.failures else None
    return Queued(
        session_id=launch.session_id,
        attempt=launch.attempt,
        room_url=launch.room_url,
        transport=launch.transport,
        deadline_s=launch.deadline_s,
        labels=launch.labels,
        reason=last.reason if last else None,
        message=last.message if last else "",
        redriven_from=launch.redriven_from,
        agent=launch.agent,
    )


def after(launch: Launch, failure: Failure, max_attempts: int) -> Launch | Failed:
    """What follows a failed attempt: the next one, or the end. A runner that was stopped is nobody's failure."""
    failures = (*launch.failures, failure)
    deaths = sum(one.reason is not Reason.RUNNER_STOPPED for one in failures)
    if failure.reason.final or deaths >= max_attempts:
        return Failed(
            session_id=launch.session_id, attempt=launch.attempt, reason=failure.reason, message=failure.message
        )
    return msgspec.structs.replace(launch, attempt=launch.attempt + 1, failures=failures)


class Launches:
    """The launch streams and their lease table. Every call raises `Unavailable` when Redis does not answer.

    `served` are the agents whose launches the caller claims or looks after; who does neither needs to name none.
    `seals` are for those who make launches or give them to bots: all others pass on what they cannot open.
    """

    def __init__(self, redis: Redis, served: Sequence[str] = (agents.DEFAULT,), seals: Seals = UNSEALED) -> None:
        self._redis = redis
        self._seals = seals
        self._served = tuple(served)
        self._streams = launch_streams(served)
        self._offer = Coalesced(redis, "offer")
        self._adopt = Script(redis, "adopt")
        self._renew = Script(redis, "renew")
        self._report = Script(redis, "report")
        self._requeue = Script(redis, "requeue")
        self._finish = Script(redis, "finish")
        self._find = Script(redis, "find")

    async def offer(self, launch: Launch, *, queue_limit: int, letter: str = "") -> Offered:
        """Accept a session: it is in its agent's queue when this returns, unless its room has one or the queue is full.

        With the id of a dead letter the launch takes its place: accepted and deleted in one step, or neither.
        """
        stream = launch_stream(launch.agent, 1)
        with traces.publishing("offer", stream, traces.current() or launch.traceparent, launch.session_id) as span:
            launch = msgspec.structs.replace(self._seals.closed(launch), traceparent=span.traceparent)
            offered = await self._write_offer(launch, queue_limit, letter)
            span.set(traces.OUTCOME, offered.outcome)
        return offered

    async def _write_offer(self, launch: Launch, queue_limit: int, letter: str) -> Offered:
        outcome, session_id, depth = await self._offer(
            [*_where_it_begins(launch), DEAD, AGENTS],
            [
                launch.session_id,
                encode(launch),
                encode(queued(launch)),
                CLAIMS,
                queue_limit,
                EVENTS_KEPT,
                letter,
                launch.agent,
            ],
        )
        return Offered(outcome, session_id, depth)

    async def adopt(self, launch: Launch, holder: str) -> Claim | str | None:
        """Accept a session of an agent that the holder serves, and claim it in one step.

        Gives the claim; or the id of the session that the room has already; or None while other launches wait, for
        they come first.
        """
        closed = self._seals.closed(launch)
        outcome, name = await self._adopt(
            _where_it_begins(launch),
            [launch.session_id, encode(closed), encode(queued(launch)), CLAIMS, EVENTS_KEPT, holder],
        )
        if outcome == "behind":
            return None
        return Claim(EntryId(name), closed, launch if closed.sealed else None) if outcome == "adopted" else str(name)

    def opened(self, launch: Launch) -> Launch:
        """A launch with what is for its bot alone; only the other one goes back into a stream.

        Raises:
            BadEntry: it was sealed with a key that is not here.
        """
        return self._seals.opened(launch)

    async def ensure_group(self, group: str) -> None:
        """Create the served launch streams and this group of them, if they are not there."""
        await known_agents.note(self._redis, self._served)
        for stream in self._streams:
            await ensure_group(self._redis, stream, group)

    async def discard(self, entry: EntryId, holder: str, fields: Fields, *, stream: str = contract.LAUNCH) -> None:
        """Drop a launch that cannot be read, from its holder's hands; what it was stays as a dead letter.

        Its session fails and its room is free again, if at least these can be read, and no other entry is its launch.
        """
        letter = encode(DeadLetter(unreadable=msgspec.json.encode(fields).decode()[:UNREADABLE_KEPT]))
        whose = await self._failing(entry, fields)
        if whose is None:
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.xadd(DEAD, {FIELD: letter}, maxlen=contract.DEAD_KEPT, approximate=True)
                pipe.xack(stream, CLAIMS, entry)
                pipe.xdel(stream, entry)
                with translated():
                    await pipe.execute()
            return
        failed = Failed(
            session_id=whose.session_id,
            attempt=whose.attempt,
            reason=Reason.UNREADABLE,
            message="the launch is not one that a runner of this version can read",
        )
        await self._end(stream, entry, holder, whose=whose, event=failed, letter=letter)

    async def _failing(self, entry: EntryId, fields: Fields) -> "_Whose | None":
        """Whose session fails with an entry that cannot be read; nobody's, where it names one that goes on without."""
        try:
            whose = _whose(fields)
        except BadEntry:
            return None
        its, queued = "", None
        for its_, event in await self.history(whose.session_id):
            if isinstance(event, Queued):
                its, queued = its_, event
        stream = launch_stream(queued.agent, queued.attempt) if queued else ""
        goes_on = queued and its != entry and await between(self._redis, stream, its, its)
        return None if goes_on else whose

    async def held(self, holder: str) -> list[tuple[str, EntryId, Fields]]:
        """The launches whose lease this holder has, known to it or not: an answer may have got lost on the way.

        Each with the stream that it stands in.
        """
        found = await read_group(self._redis, CLAIMS, holder, dict.fromkeys(self._streams, "0"), count=1000)
        return [(stream, EntryId(entry), fields) for stream, entries in found for entry, fields in entries]

    async def renew(self, holder: str, entries: Sequence[EntryId]) -> list[EntryId]:
        """Make these leases young again. Gives those that the holder has lost."""
        lost = await self._renew([*reversed(self._streams)], [CLAIMS, holder, *entries])
        return [EntryId(entry) for entry in lost]

    async def report(self, claim: Claim, holder: str, event: AnyEvent) -> bool:
        """Add to the history of a session that the caller holds. False: the lease is lost, nothing was written."""
        stream = launch_stream(claim.launch.agent, claim.launch.attempt)
        keys = [stream, EVENTS, contract.session_key(event.session_id)]
        return bool(await self._report(keys, [CLAIMS, claim.entry, holder, encode(event), EVENTS_KEPT]))

    async def requeue(self, entry: EntryId, holder: str, launch: Launch, *, age_ms: int = 0) -> EntryId | None:
        """Put `launch`, the next attempt, in the place of `entry`. None: not the holder's, or younger than `age_ms`."""
        streams = [launch_stream(launch.agent, attempt) for attempt in (launch.attempt - 1, launch.attempt)]
        keys = [*streams, EVENTS, contract.session_key(launch.session_id)]
        args: list[str | int] = [CLAIMS, entry, holder, age_ms, encode(launch), encode(queued(launch)), EVENTS_KEPT]
        return EntryId(await self._requeue(keys, args)) or None

    async def finish(
        self, entry: EntryId, holder: str, launch: Launch, event: Ended | Failed, *, age_ms: int = 0
    ) -> Finished:
        """End the session of `entry`; a failed one leaves a dead letter. `holder` is empty for a queued one."""
        letter = encode(DeadLetter(launch=launch)) if isinstance(event, Failed) else ""
        stream = launch_stream(launch.agent, launch.attempt)
        return await self._end(stream, entry, holder, whose=launch, event=event, letter=letter, age_ms=age_ms)

    async def _end(
        self,
        stream: str,
        entry: EntryId,
        holder: str,
        *,
        whose: "Launch | _Whose",
        event: Ended | Failed,
        letter: str,
        age_ms: int = 0,
    ) -> Finished:
        keys = [
            stream,
            EVENTS,
            contract.session_key(whose.session_id),
            contract.room_key(whose.room_url),
            contract.commands_key(whose.session_id),
            DEAD,
            contract.REPLIES,
        ]
        why = [event.reason.value] + ([event.message] if isinstance(event, Failed) and event.message else [])
        too_late = f"The session is over: {': '.join(why)}"
        kept: list[str | int] = [EVENTS_KEPT, contract.SESSION_KEPT_S, contract.DEAD_KEPT]
        kept += [contract.REPLIES_KEPT, contract.REPLIES_KEPT_S]
        ends: list[str | int] = [whose.session_id, event.attempt, encode(event), letter, too_late]
        args: list[str | int] = [CLAIMS, entry, holder, age_ms, *ends, *kept]
        outcome: Finished = await self._finish(keys, args)
        return outcome

    async def settle(self, claim: Claim, holder: str, following: Launch | Ended | Failed, *, age_ms: int = 0) -> bool:
        """Write what follows an attempt: the next one, or the session's end. False: not the holder's, or younger.

        A failed session leaves a dead letter. `holder` is empty for a launch that waits.
        """
        match following:
            case Launch(session_id=session_id, attempt=attempt, traceparent=parent):
                stream = launch_stream(following.agent, attempt)
                with traces.publishing("requeue", stream, parent, session_id) as span:
                    span.set(traces.ATTEMPT, attempt)
                    span.set(traces.REASON, following.failures[-1].reason if following.failures else "")
                    following = msgspec.structs.replace(following, traceparent=span.traceparent)
                    return await self.requeue(claim.entry, holder, following, age_ms=age_ms) is not None
            case Ended():
                return await self.finish(claim.entry, holder, claim.launch, following, age_ms=age_ms) == "finished"
            case Failed(attempt=attempt, reason=reason, message=message):
                failures = (*claim.launch.failures, Failure(attempt=attempt, reason=reason, message=message))
                dead = msgspec.structs.replace(claim.launch, failures=failures)
                return await self.finish(claim.entry, holder, dead, following, age_ms=age_ms) == "finished"

    async def read(self, entry: EntryId, *, agent: str = agents.DEFAULT) -> Launch | None:
        """The launch of an agent's entry, or None when its attempt is over.

        Raises:
            BadEntry: there is one, but not one that can be read.
        """
        for stream in launch_streams([agent]):
            if found := await between(self._redis, stream, entry, entry):
                return decode(found[0][1])
        return None

    async def history(self, session_id: str) -> History:
        """A session's events so far."""
        return await history(self._redis, session_id)

    async def find(self, room_url: str) -> str | None:
        """The id of the live session of a room, or None when it has none."""
        return await self._find([contract.room_key(room_url)], []) or None

    async def standing(self, entries: Sequence[tuple[str, EntryId]]) -> list[Standing]:
        """How each of these launches stands, in one round trip; they are named by stream and entry."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for stream, entry in entries:
                pipe.xrange(stream, entry, entry)
                pipe.xpending_range(stream, CLAIMS, entry, entry, 1)
            with translated():
                found = await pipe.execute(raise_on_error=False)
                for answer in found:
                    # A launch that was written by hand may name an agent that has no stream.
                    if isinstance(answer, Exception) and not str(answer).startswith("NOGROUP"):
                        raise answer
        leases = [answer if isinstance(answer, list) else [] for answer in found[1::2]]
        rows = zip(found[::2], leases, strict=True)
        return ["gone" if not there else "taken" if lease else "waiting" for there, lease in rows]

    async def live(self, limit: int, *, agent: str | None = None, after: str = "") -> list[tuple[EntryId, Fields]]:
        """The launches of live sessions, oldest first: of one agent, or of all that were ever known.

        With `after`, an entry's id, those that follow it; one that is put back meanwhile can come twice.
        """
        streams = launch_streams(await known_agents.read(self._redis) if agent is None else [agent])
        first = f"({after}" if after else "-"
        found = [entry for stream in streams for entry in await between(self._redis, stream, first, count=limit)]
        found.sort(key=lambda entry: order(entry[0]))
        return [(EntryId(entry), fields) for entry, fields in found[:limit]]

    async def each_live(self) -> AsyncIterator[tuple[EntryId, Fields]]:
        """The launches of all live sessions. None is missed; one that is put back meanwhile can come twice."""
        for stream in reversed(launch_streams(await known_agents.read(self._redis))):
            first = "-"
            while entries := await between(self._redis, stream, first, count=LIVE_AT_ONCE):
                for entry, fields in entries:
                    yield EntryId(entry), fields
                first = f"({entries[-1][0]}"

    async def depth(self, *, agents: Sequence[str] | None = None) -> int:
        """How many launches wait for a runner: of these agents, or of all that were ever known."""
        streams = launch_streams(await known_agents.read(self._redis) if agents is None else agents)
        async with self._redis.pipeline(transaction=True) as pipe:
            for stream in streams:
                pipe.xlen(stream)
                pipe.xinfo_groups(stream)
            with translated():
                answers = await pipe.execute(raise_on_error=False)
                for answer in answers:
                    # Before the first launch there may be no stream.
                    if isinstance(answer, Exception) and not str(answer).startswith("no such key"):
                        raise answer
        groups = [group for answer in answers if isinstance(answer, list) for group in answer]
        pending = sum(int(group["pending"]) for group in groups if group["name"] == CLAIMS)
        return sum(answer for answer in answers if isinstance(answer, int)) - pending


def _where_it_begins(launch: Launch) -> list[str]:
    """The keys of a new session, as its scripts take them."""
    streams = [launch_stream(launch.agent, attempt) for attempt in (1, 2)]
    return [contract.room_key(launch.room_url), *streams, EVENTS, contract.session_key(launch.session_id)]


def decode(fields: Fields, stream: str = "") -> Launch:
    """The launch of an entry's fields.

    Raises:
        BadEntry: it cannot be read, or does not belong into the stream in which it stands.
    """
    launch = _launch(fields)
    if stream and stream != launch_stream(launch.agent, launch.attempt):
        raise BadEntry("not a readable entry: it stands in the stream of another agent or attempt")
    return launch
