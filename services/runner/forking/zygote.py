"""The mould of session processes: it imports Pipecat and the runner's bots once, and forks.

It runs no thread, for a fork copies only the thread that forks. A bot that starts threads or opens connections when it
is imported and warmed up is imported by each session process instead, after the fork. One mould has the bots of all
agents, so that any warm process can serve any launch.

The supervisor starts it with one end of a SEQPACKET socket pair. It says `Moulded` once; then each message that it gets
carries one end of a new process's pipe. A forked process is given to the supervisor: its immediate parent exits, and
the supervisor is the reaper of orphans. So the zygote may die without harm to any session.
"""

import faulthandler
import gc

if __name__ == "__main__":
    # Neither for imports nor for what is shared: a collection takes its time, and leaves holes which forks write into.
    gc.disable()

import importlib
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

import msgspec

from services.runner.forking import forked
from services.runner.forking.process_names import ZYGOTE, be_called
from services.runner.loading import bot_source
from services.runner.loading.bot_source import PIPELINES, Bot, Source
from services.runner.loading.repertoire import Late, Repertoire
from services.runner.logs import bot_logs
from services.runner.logs.bot_output import write_into
from services.runner.pipe import Moulded
from services.runner.process_end import flush
from services.runner.settings import RunnerSettings
from shared import settings
from shared.process import logs
from shared.process.time_slices import PATIENT_S, take_turns_of

PIPELINE_MODULES = (
    "pipecat.runner.utils",
    "pipecat.transports.daily.transport",
    "pipecat.transports.smallwebrtc.transport",
    "services.runner.daily_room",
    "services.runner.call.pipelines",
    "services.runner.webrtc",
)
"""What a bot with a pipeline imports when it is called, if it has not before; shared by all when imported here."""
SOURCE_FILE = bot_source.__file__


def main(control: socket.socket, late: dict[str, Late]) -> None:
    """Mould, then fork until the supervisor hangs up."""
    be_called(ZYGOTE)
    take_turns_of(PATIENT_S)
    configuration = settings.load(RunnerSettings)
    logs.setup("bot", level=configuration.log_level, form=configuration.log_format, strike=bot_logs.without_secrets)
    started = time.monotonic()
    source = Source()
    bots: dict[str, Bot] = {}
    for agent, name in configuration.sources.items():
        if agent not in late:
            bots[agent] = _load(source, name, partial(_start_anew, control, late, agent))
    announced = any(bot.has_pipelines for bot in bots.values()) or any(bot.has_pipelines for bot in late.values())
    if announced or PIPELINES in sys.modules:
        _import_for_pipelines()
    bot_logs.setup(configuration.log_level)
    if configuration.traces:
        importlib.import_module("services.runner.tracing.bot_spans")
    gc.freeze()
    known: Mapping[str, Bot | Late] = {**bots, **late}
    moulded = Moulded(
        import_s=time.monotonic() - started,
        late={agent: bot.why for agent, bot in late.items()},
        errors={agent: bot.error for agent, bot in known.items() if bot.error},
    )
    with suppress(BrokenPipeError):
        control.send(msgspec.json.encode(moulded))
    _fork_on_request(control, Repertoire(configuration.sources, source, bots, late), configuration)


def _load(source: Source, name: str, start_anew: Callable[[Late], None]) -> Bot:
    """Import a bot, or start anew without it if it does what a mould must not do."""
    before = _sockets()
    started = time.monotonic()
    bot = source.bot(name)
    if isinstance(bot.module, BaseException) and bot.module.__cause__:
        _print_bots_part(bot.module.__cause__)
    if _left(before):
        gc.collect()  # what was dropped is perhaps not closed yet
    if found := _left(before):
        why = f"its import {found}, and takes {time.monotonic() - started:.2f} s for each session process"
        start_anew(Late(why=why, has_pipelines=bot.has_pipelines, error=bot.error))
    return bot


def _start_anew(control: socket.socket, late: dict[str, Late], agent: str, bot: Late) -> None:
    os.set_inheritable(control.fileno(), True)
    known = msgspec.json.encode({**late, agent: bot}).decode()
    os.execv(sys.executable, [sys.executable, "-m", __spec__.name, str(control.fileno()), known])  # noqa: S606


def _print_bots_part(error: BaseException) -> None:
    """The traceback from where it leaves our own file and the import system."""
    trace = error.__traceback__
    while (
        trace and trace.tb_next and ("importlib" in (file := trace.tb_frame.f_code.co_filename) or file == SOURCE_FILE)
    ):
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)


def _left(sockets_before: int) -> str:
    return unforkable(threading.active_count() - 1, _native_threads(), _sockets() - sockets_before)


def unforkable(threads: int, native_threads: int, sockets: int) -> str:
    """What of an import does not survive a fork, in words; empty if all does. Python's threads are native ones too."""
    found = []
    if threads:
        found.append(f"starts {threads} thread(s)")
    elif native_threads:
        found.append(f"starts {native_threads} native thread(s)")
    if sockets > 0:
        found.append(f"opens {sockets} connection(s)")
    return " and ".join(found)


def _native_threads() -> int:
    return len(os.listdir("/proc/self/task")) - 1


def _sockets() -> int:
    count = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
        except FileNotFoundError:
            continue  # the one that the listing itself had open
    return count


def _import_for_pipelines() -> None:
    for name in PIPELINE_MODULES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            print(f"{name} is not available to bots: {error}", file=sys.stderr)  # noqa: T201


def _fork_on_request(control: socket.socket, bots: Repertoire, configuration: RunnerSettings) -> None:
    while True:
        message, fds, _, _ = socket.recv_fds(control, 64, 2)
        if not message:
            return
        intermediate = os.fork()
        if not intermediate:
            if os.fork():
                os._exit(0)
            control.close()
            if fds[1:]:
                bot_logs.go_straight(write_into(fds[1]))
            _become_session(socket.socket(fileno=fds[0]), bots, configuration)
        for fd in fds:
            os.close(fd)
        os.waitpid(intermediate, 0)


def _become_session(end: socket.socket, bots: Repertoire, configuration: RunnerSettings) -> None:
    code = 70
    faulthandler.enable()
    try:
        forked.main(end, bots, configuration)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except BaseException:  # noqa: BLE001 - nothing may find its way back into the zygote's loop
        traceback.print_exc()
    finally:
        flush()
        os._exit(code)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), msgspec.json.decode((*sys.argv[2:], "{}")[0], type=dict[str, Late]))
