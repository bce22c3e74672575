"""The README is true: its tables of settings and of events are the code's."""

import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from services.gateway.settings import GatewaySettings
from services.operator.settings import OperatorSettings
from services.runner.bots.assistant_settings import AssistantSettings
from services.runner.settings import RunnerSettings
from shared.contract import AnyActivity, AnyEvent
from shared.settings import FleetSettings, variable
from tests.processes import ROOT

README = ROOT / "README.md"
SERVICES: dict[str, type[FleetSettings]] = {
    "gateway": GatewaySettings,
    "operator": OperatorSettings,
    "runner": RunnerSettings,
}
KINDS: dict[str, type[msgspec.Struct]] = {**SERVICES, "assistant": AssistantSettings}


def shown(default: Any) -> str:
    """A default as one would write it into the environment."""
    if isinstance(default, bool):
        return str(int(default))
    if isinstance(default, tuple):
        return ",".join(default)
    return "" if default is None else f"{default:g}" if isinstance(default, float) else str(default)


def wanted() -> dict[str, tuple[str, str]]:
    """Each variable with its default and its readers, from the code."""
    rows: dict[str, tuple[str, str]] = {}
    for service, kind in KINDS.items():
        for field in msgspec.structs.fields(kind):
            name, default = variable(field.name), shown(field.default)
            _, readers = rows.get(name, (default, ""))
            assert rows.get(name, (default, ""))[0] == default, f"{name} has two defaults"
            rows[name] = (default, f"{readers}, {service}" if readers else service)
    return {
        name: (default, "all" if readers == ", ".join(SERVICES) else readers)
        for name, (default, readers) in rows.items()
    }


def written() -> dict[str, tuple[str, str]]:
    """The same, from the README."""
    row = re.compile(r"^\| `([A-Z_]+)` \| (?:`(.*?)`)? ?\| (.*?) \| ", re.MULTILINE)
    return {name: (default, readers) for name, default, readers in row.findall(README.read_text())}


def test_the_settings_in_the_readme_are_those_of_the_code() -> None:
    assert written() == wanted()


EVERYWHERE = {"v", "session_id", "attempt", "dropped"}
"""Fields that the table does not repeat for each event."""
NOT_SHOWN = {"ago_s"}


@pytest.mark.parametrize("kind", [*get_args(AnyEvent), *get_args(AnyActivity)], ids=lambda kind: kind.__name__)
def test_each_event_is_in_the_readme_with_all_its_fields(kind: type[msgspec.Struct]) -> None:
    """Two authors added fields to events while a third wrote the table."""
    tag = kind.__struct_config__.tag
    rows = [line.split("|") for line in README.read_text().splitlines() if re.match(rf"\|[^|]*`{tag}`", line)]
    told = {field.encode_name for field in msgspec.structs.fields(kind)} - EVERYWHERE - NOT_SHOWN
    assert any(told <= set(re.findall(r"`(\w+)`", cells[2])) for cells in rows)


@pytest.mark.parametrize("path", re.findall(r"\]\(((?:services|shared|tests|docs|k8s)/[^)]*)\)", README.read_text()))
def test_a_file_that_the_readme_points_at_is_there(path: str) -> None:
    assert (ROOT / Path(path)).exists()
