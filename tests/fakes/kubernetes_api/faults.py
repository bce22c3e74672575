"""What a test orders to go wrong with requests."""

import asyncio
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tests.fakes.kubernetes_api.access import Wish
from tests.fakes.kubernetes_api.statuses import ApiError

Cut: TypeAlias = Literal["", "before", "after"]
_MESSAGES = {
    409: (
        'Operation cannot be fulfilled on resourcequotas "quota": the object has been modified; '
        "please apply your changes to the latest version and try again"
    ),
    410: "too old resource version: 1 (2)",
    429: "the server has received too many requests and has asked us to try again later",
    500: "Internal error occurred: etcdserver: request timed out",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be processing the request",
}


@dataclass
class Fault:
    """For the next requests of this verb and kind; empty is any."""

    verb: str
    kind: str
    left: int
    code: int = 0
    retry_after_s: int = 0
    delay_s: float = 0.0
    cut: Cut = ""

    def hits(self, wish: Wish) -> bool:
        return self.left > 0 and self.verb in {"", wish.verb} and self.kind in {"", wish.kind}


class Faults:
    """All that is ordered."""

    def __init__(self) -> None:
        self._ordered: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Ordered first comes first."""
        self._ordered.append(fault)

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._ordered.clear()

    async def meet(self, wish: Wish) -> Cut:
        """Let a request meet its fate; the result says where its connection is to be cut.

        Raises:
            ApiError: it is answered with an error.
        """
        cut: Cut = ""
        for fault in [fault for fault in self._ordered if fault.hits(wish)]:
            fault.left -= 1
            if fault.delay_s:
                await asyncio.sleep(fault.delay_s)
            if fault.code:
                raise ApiError(fault.code, _MESSAGES[fault.code], retry_after_s=fault.retry_after_s)
            cut = cut or fault.cut
        return cut
