"""What a test orders to go wrong with Pods."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from tests.fakes.kubernetes_api.statuses import Object

Trouble: TypeAlias = Literal["unschedulable", "image", "config", "slow", "crash", "oom"]
"""No node for it, no image, no configuration, a start that takes `seconds`, a process that exits with `exit_code` at
once, and one that is killed for its memory as soon as it runs.
"""
MESSAGES: Mapping[str, str] = {
    "unschedulable": (
        "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: "
        "3 No preemption victims found for incoming pod."
    ),
    "image": "failed to pull and unpack image: failed to resolve reference: pull access denied",
    "config": 'secret "pipefleet" not found',
}


@dataclass(eq=False)
class Order:
    """For so many of the next Pods with these labels; what keeps a Pod waiting does so until `release`."""

    trouble: Trouble
    pods: int
    labels: Mapping[str, str]
    message: str
    seconds: float
    exit_code: int
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        """The trouble is over, also for the Pods that were not there yet."""
        self.pods = 0
        self.released.set()

    def take(self, trouble: Trouble, pod: Object) -> bool:
        """Whether this Pod gets it."""
        labels = pod["metadata"].get("labels") or {}
        if self.trouble != trouble or self.pods <= 0 or not self.labels.items() <= labels.items():
            return False
        self.pods -= 1
        return True
