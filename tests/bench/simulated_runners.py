"""Many runners in one process: the supervisor, its leases, commands and presence are the real ones, the bots are not.

`python -m tests.bench.simulated_runners <runners> <slots>` says `ready` when all stand by. Where a runner would fork a
process, it gets one that is in its room as soon as it has a launch, and stays for as long as the launch's `body` says.
"""

import asyncio
import sys
import time
from typing import Any

import msgspec

from services.runner.forking.forks import Zygote
from services.runner.live_session import Runner
from services.runner.pipe import Begin, InRoom, Over, Stop, ToSupervisor
from services.runner.settings import RunnerSettings
from services.runner.slots import Slots
from services.runner.supervisor import Supervisor
from shared import settings
from shared.activity import ActivityLog
from shared.claims import Claims
from shared.contract import Reason
from shared.inbox import Inbox
from shared.launches import Launches
from shared.process import logs
from shared.process.lifecycle import Shutdown
from shared.process.process_name import process_name
from shared.redis.connection import connect
from shared.sweep import Sweep

STARTED_PER_S = 200


class Bot:
    """In the place of a session process and its pipe."""

    def __init__(self) -> None:
        self.pid = 0
        self.exited = asyncio.Event()
        self.exit = "exited with code 0"
        self.pipe = self
        self.output = None
        self._said: asyncio.Queue[ToSupervisor | None] = asyncio.Queue()

    def send(self, message: msgspec.Struct) -> None:
        """What the supervisor tells it."""
        match message:
            case Begin(launch=launch):
                self._said.put_nowait(InRoom(begun_at=time.monotonic()))
                if stay_s := (launch.body or {}).get("stay_s"):
                    asyncio.get_running_loop().call_later(stay_s, self._end, Reason.COMPLETED)
            case Stop(reason=reason):
                self._end(reason)

    async def receive(self) -> ToSupervisor | None:
        """What it tells the supervisor."""
        return await self._said.get()

    def kill(self) -> None:
        """Be gone."""
        self.exited.set()
        self._said.put_nowait(None)

    def private_mb(self) -> int:
        """Nothing."""
        return 0

    def _end(self, reason: Reason) -> None:
        self._said.put_nowait(Over(reason=reason))
        self._said.put_nowait(None)


class Mould(Zygote):
    """Has a bot at once."""

    async def run(self) -> None:
        """Nothing is started."""
        await asyncio.Event().wait()

    async def fork(self) -> Any:
        """One more."""
        return Bot()


async def stand_by(configuration: RunnerSettings) -> None:
    """What the runner's own main does, but for its process."""
    name = process_name()
    redis = connect(configuration.redis_url, retries=0)
    claims, inbox, launches = Claims(redis, name), Inbox(redis, name), Launches(redis)
    runner = Runner(name, "warm", launches, inbox, ActivityLog(redis), configuration)
    sweep = Sweep(redis, lease_s=configuration.lease_s, max_attempts=configuration.max_attempts)
    await Supervisor(
        runner, redis, claims, Slots(configuration.runner_slots, Mould(logs_output=False)), sweep
    ).stand_by(Shutdown())


async def main(count: int) -> None:
    """All of them, until killed."""
    configuration = settings.load(RunnerSettings)
    logs.setup("runner", level=configuration.log_level, form="json")
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(stand_by(configuration))
            await asyncio.sleep(1 / STARTED_PER_S)
        print("ready", flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
