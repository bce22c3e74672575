"""The way of a log line."""

import json
import re
import subprocess
import sys
from typing import Any

SAYS = """
import logging, sys, structlog
from shared.process import logs
logs.setup("gateway", level="info", form="json", strike=lambda line: line.replace("token", "[token]"))
log = structlog.get_logger()
log.debug("too_little")
log.info("said", secret="token")
logging.getLogger("library").warning("by %s", "another")
try:
    raise ValueError("why")
except ValueError:
    log.exception("raised")
"""


def lines_of(program: str) -> list[dict[str, Any]]:
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in said.stderr.splitlines()]


def test_lines_of_structlog_and_of_the_standard_library_look_alike_and_hide_what_is_struck() -> None:
    said, foreign, raised = lines_of(SAYS)
    assert said | {"timestamp": ""} == {
        "event": "said",
        "secret": "[token]",
        "service": "gateway",
        "level": "info",
        "timestamp": "",
    }
    assert (foreign["event"], foreign["level"], {*foreign}) == ("by another", "warning", {*said} - {"secret"})
    assert (raised["event"], raised["exception"][0]["exc_value"]) == ("raised", "why")


HOSTILE = """
import logging, structlog
from shared import logs
logs.setup("gateway", level="info", form="console")
structlog.get_logger().info("said", path="/\\x1b[2J\\x9b31m", other="a\\nb", name="für")
logging.getLogger("library").warning("by \\x1b]0;%s", "another")
"""


def test_no_line_for_people_has_anything_that_a_terminal_obeys() -> None:
    said = subprocess.run([sys.executable, "-c", HOSTILE], capture_output=True, text=True, check=True).stderr
    ours = re.sub(r"\x1b\[\d*m", "", said)
    assert ours.replace("\n", "").isprintable()
    assert r"/\x1b[2J\x9b31m" in ours
    assert r"by \x1b]0;another" in ours
    assert "für" in ours
    assert ours.count("\n") == 2


def test_a_line_that_cannot_be_written_is_nobodys_failure() -> None:
    program = SAYS + "\nsys.stderr.close()\nlog.info('to_nobody')\nprint('on', flush=True)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "on\n"
