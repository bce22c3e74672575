"""A session process from its fork to its launch: it finishes its warm-up, says so, and waits."""

import asyncio
import gc
import os
import random
import socket
import sys
import time
from typing import NoReturn

import msgspec

from services.runner.bot_ends import Exited
from services.runner.forking.kernel_timer import KernelTimer
from services.runner.forking.process_names import SESSION_PROCESS, be_called
from services.runner.loading.repertoire import Repertoire
from services.runner.logs import bot_logs
from services.runner.pipe import READY_WITHIN_S, Begin, Forked, Hidden, Pipe, Ready, ToProcess, open_pipe
from services.runner.process_end import leave_process
from services.runner.rehearsal import IDLE_BOT, begun
from services.runner.session_process import Session
from services.runner.settings import RunnerSettings
from shared.process.time_slices import PROMPT_S, take_turns_of


def main(end: socket.socket, bots: Repertoire, settings: RunnerSettings) -> NoReturn:
    """Be a session process, from the fork to the exit."""
    started = time.monotonic()
    os.setsid()
    be_called(SESSION_PROCESS)
    timer = KernelTimer()
    timer.kill_at(started + READY_WITHIN_S)
    end.sendall(msgspec.json.encode(Forked(pid=os.getpid())) + b"\n")
    gc.enable()
    _reseed()
    if bots.late:
        bots.complete()
        bot_logs.setup(settings.log_level)
    if settings.traces:
        from services.runner.tracing import bot_spans  # noqa: PLC0415 - who has no collector does not pay for it

        bot_spans.record(transcripts=settings.events_transcripts)
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        exited: Exited = loop.create_future()
        _run(loop, loop.create_task(_serve(end, bots, settings, timer, started=started, exited=exited)), exited)
    leave_process(0)


def _run(loop: asyncio.AbstractEventLoop, serving: asyncio.Task[None], exited: Exited) -> None:
    """Run to the end. `sys.exit()` in any task of the bot's stops the loop, and means what it means in its function."""
    while not serving.done():
        try:
            loop.run_until_complete(serving)
        except SystemExit as error:
            if not exited.done():
                exited.set_result(error)
    serving.result()


async def _serve(
    end: socket.socket,
    bots: Repertoire,
    settings: RunnerSettings,
    timer: KernelTimer,
    *,
    started: float,
    exited: Exited,
) -> None:
    pipe: Pipe[ToProcess] = await open_pipe(end, ToProcess)
    await asyncio.create_task(_rehearse(settings, timer))
    timer.stop()
    take_turns_of(PROMPT_S)
    pipe.send(Ready(after_s=time.monotonic() - started))
    bot_logs.share(lambda secret: pipe.send(Hidden(secret=secret)))
    begin = await pipe.receive()
    if isinstance(begin, Begin):
        await Session(pipe, begin, bots.bot(begin.launch.agent), settings, timer, exited=exited).run()


async def _rehearse(settings: RunnerSettings, timer: KernelTimer) -> None:
    """Go the whole way of a launch to a bot once, while nobody waits.

    After a fork whatever is touched first costs a page fault each, and code that never ran before runs slowly.
    """
    async with begun(traced=settings.traces) as pipe:
        begin = await pipe.receive()
        if isinstance(begin, Begin):
            exited: Exited = asyncio.get_running_loop().create_future()
            await Session(pipe, begin, IDLE_BOT, settings, timer, exited=exited).rehearse()


def _reseed() -> None:
    """Processes of one mould share no random numbers; Python sees to its own generator at the fork."""
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(random.SystemRandom().getrandbits(32))
