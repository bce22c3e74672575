"""The labels of sessions, which only their first event tells."""

from collections import OrderedDict
from collections.abc import Mapping

from shared.contract import Queued, session_key
from shared.events import decode
from shared.redis.connection import Redis
from shared.redis.streams import between

REMEMBERED = 10_000


class Labels:
    """Learns a session's from its beginning or looks them up once, and forgets those not asked for longest."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._known: OrderedDict[str, Mapping[str, str]] = OrderedDict()

    async def of(self, session_id: str) -> Mapping[str, str]:
        """A session's labels; none where its history is gone.

        Raises:
            Unavailable: Redis does not answer.
        """
        if session_id not in self._known:
            first = decode(await between(self._redis, session_key(session_id), count=1))
            queued = first[0][1] if first else None
            self._note(session_id, queued.labels if isinstance(queued, Queued) else {})
        self._known.move_to_end(session_id)
        return self._known[session_id]

    def learn(self, begun: Queued) -> None:
        """From a session that has begun just now: what is known need not be looked up for each client that asks."""
        self._note(begun.session_id, begun.labels)

    def _note(self, session_id: str, labels: Mapping[str, str]) -> None:
        self._known[session_id] = labels
        self._known.move_to_end(session_id)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
