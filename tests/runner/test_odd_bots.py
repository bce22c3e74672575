"""Bots that do what is legal and odd, each an agent of one real runner: their sessions end as they would alone."""

import json
from pathlib import Path
from typing import Any

from shared.contract import Ended, Failed, Reason
from shared.redis.connection import Redis
from tests.launching import offer
from tests.processes import Children, session_event
from tests.waiting import until

OWN_LOGURU = "import sys\nfrom loguru import logger\nlogger.remove(0)\nlogger.add(sys.stderr, level='DEBUG')\n"
BOT = "async def bot(args): ...\n"
ODD = {
    "closes": "import sys\nasync def bot(args):\n    sys.stdout.close()\n",
    "replaces": "import sys\nasync def bot(args):\n    sys.stdout = sys.stderr = object()\n",
    "first": OWN_LOGURU + BOT,
    "second": OWN_LOGURU + BOT,
    "late": OWN_LOGURU
    + "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    + BOT,
    "threaded": """
import logging
import threading
from loguru import logger

def talk():
    logger.info("from a thread")
    logging.getLogger("library").warning("from a thread's library")

async def bot(args):
    thread = threading.Thread(target=talk)
    thread.start()
    thread.join()
""",
}


def written(folder: Path, bots: dict[str, str]) -> str:
    for name, source in bots.items():
        (folder / f"{name}.py").write_text(source)
    return ",".join(f"{name}={folder}/{name}.py" for name in bots)


async def test_bots_that_are_odd_and_legal_are_imported_and_come_to_their_end_once(
    redis: Redis, children: Children, tmp_path: Path
) -> None:
    """What became of them.

    A bot that had closed its standard output was replaced when it was done. One that set up loguru as if nobody had
    was not imported beside another of its kind, nor after a fork. The lines of a thread were nobody's.
    """
    runner = children.service("runner", BOTS=written(tmp_path, ODD), RUNNER_SLOTS="2")
    launches = {name: await offer(redis, agent=name) for name in ODD}
    for name, launch in launches.items():
        assert (await session_event(redis, launch.session_id, Ended)).reason is Reason.COMPLETED, name

    def lines() -> list[Any]:
        told = map(json.loads, runner.output().split("\n")[:-1])
        return [line for line in told if "from a thread" in line["event"] + line.get("said", "")]

    await until(lambda: len(lines()) == 2)
    session_id = launches["threaded"].session_id
    assert [(line["session_id"], line["attempt"], line["service"]) for line in lines()] == [(session_id, 1, "bot")] * 2


async def test_a_bot_that_raises_what_is_no_exception_when_it_is_imported_fails_its_sessions_at_once(
    redis: Redis, children: Children, tmp_path: Path
) -> None:
    """Its mould died of it again and again, and the session waited for its deadline."""
    bots = {"odd": "import asyncio\nraise asyncio.CancelledError('no bot')\n", "sound": BOT}
    children.service("runner", BOTS=written(tmp_path, bots))
    odd, sound = [await offer(redis, agent=name) for name in bots]
    failed = await session_event(redis, odd.session_id, Failed)
    assert failed.reason is Reason.BOT_IMPORT_ERROR
    assert failed.message.startswith("CancelledError: no bot (odd.py:2")
    await session_event(redis, sound.session_id, Ended)


async def test_a_bot_whose_standard_output_is_odd_from_its_import_on_has_its_sessions(
    redis: Redis, children: Children, tmp_path: Path
) -> None:
    bots = {"odd": "import sys\nsys.stdout = object()\n" + BOT}
    children.service("runner", BOTS=written(tmp_path, bots))
    launch = await offer(redis, agent="odd")
    assert (await session_event(redis, launch.session_id, Ended)).reason is Reason.COMPLETED
