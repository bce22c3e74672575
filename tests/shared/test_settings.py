"""The environment becomes settings, or a complaint that names what is wrong."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from services.gateway.settings import GatewaySettings
from services.operator.settings import OperatorSettings
from services.runner.settings import RunnerSettings
from shared.errors import SettingsError
from shared.settings import FleetSettings, Names, Port, Positive, inherited, load, variable


class Sample(FleetSettings, frozen=True, kw_only=True):
    needed: str
    wait_s: float = 1.5
    slots: Positive = 2
    port: Port = 80
    on: bool = False
    mode: Literal["slow", "fast"] = "slow"
    hosts: Names = ("a",)
    maybe: str | None = None
    ratio: Annotated[float, Meta(gt=0)] = 0.5

    def __post_init__(self) -> None:
        if self.mode == "fast" and self.slots > 10:
            raise ValueError("SLOTS: at most 10 with MODE=fast")


def test_a_field_in_seconds_has_a_variable_without_the_unit() -> None:
    assert [variable(name) for name in ("join_timeout_s", "redis_url")] == ["JOIN_TIMEOUT", "REDIS_URL"]


def test_every_kind_of_value_is_read() -> None:
    environ = {"NEEDED": "x", "WAIT": "2", "SLOTS": "3", "ON": "1", "MODE": "fast", "HOSTS": "b, *.c ,", "MAYBE": "y"}
    assert load(Sample, environ) == Sample(
        needed="x", wait_s=2.0, slots=3, on=True, mode="fast", hosts=("b", "*.c"), maybe="y"
    )


@pytest.mark.parametrize(("text", "value"), [("1", True), ("true", True), ("0", False), ("False", False)])
def test_a_switch_is_a_digit_or_a_word(text: str, value: bool) -> None:
    assert load(Sample, {"NEEDED": "x", "ON": text}).on is value


@pytest.mark.parametrize("text", ["fast", "FAST", "Fast"])
def test_a_choice_is_understood_in_any_case_and_read_in_its_own(text: str) -> None:
    assert load(Sample, {"NEEDED": "x", "MODE": text}).mode == "fast"


def test_log_settings_may_be_written_in_capitals_in_every_service() -> None:
    for service in (GatewaySettings, OperatorSettings, RunnerSettings):
        settings = load(service, {"LOG_LEVEL": "INFO", "LOG_FORMAT": "JSON"})
        assert (settings.log_level, settings.log_format) == ("info", "json")


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_variable_counts_as_unset(text: str) -> None:
    assert load(Sample, {"NEEDED": "x", "SLOTS": text, "HOSTS": text, "MAYBE": text}) == Sample(needed="x")


def test_all_that_is_wrong_is_said_at_once_by_variable_with_what_was_expected() -> None:
    environ = {"SLOTS": "none", "PORT": "70000", "MODE": "odd", "ON": "maybe", "RATIO": "0", "MAX_ATTEMPTS": "0"}
    with pytest.raises(SettingsError) as raised:
        load(Sample, environ)
    assert str(raised.value).splitlines() == [
        "MAX_ATTEMPTS: expected a whole number >= 1, got '0'",
        "NEEDED: is not set",
        "SLOTS: expected a whole number, got 'none'",
        "PORT: expected a whole number <= 65535, got '70000'",
        "ON: expected one of 0, 1, true, false, got 'maybe'",
        "MODE: expected one of slow, fast, got 'odd'",
        "RATIO: expected a number > 0.0, got '0'",
    ]


def test_a_time_without_end_is_no_number() -> None:
    """With MAX_DURATION=inf each launch said `null`, and no runner could read it."""
    for text in ("inf", "Infinity"):
        with pytest.raises(SettingsError, match=f"^MAX_DURATION: expected a number, got '{text}'$"):
            load(RunnerSettings, {"MAX_DURATION": text})


def test_values_that_do_not_go_together_are_a_complaint_too() -> None:
    with pytest.raises(SettingsError, match="SLOTS: at most 10 with MODE=fast"):
        load(Sample, {"NEEDED": "x", "SLOTS": "11", "MODE": "fast"})


def test_any_variable_can_be_in_a_file_and_the_end_of_its_line_is_none_of_it(tmp_path: Path) -> None:
    (tmp_path / "needed").write_text("a secret\n")
    (tmp_path / "hosts").write_text("b, *.c\n")
    (tmp_path / "wait").write_text("2")
    environ = {f"{name.upper()}_FILE": str(tmp_path / name) for name in ("needed", "hosts", "wait")}
    assert load(Sample, environ) == Sample(needed="a secret", hosts=("b", "*.c"), wait_s=2.0)
    assert load(Sample, {"NEEDED": "x", "HOSTS_FILE": " "}) == Sample(needed="x")


def test_what_is_wrong_with_a_file_is_said_without_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("p4ss-word\n")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    environ = {
        "REDIS_URL_FILE": str(tmp_path / "secret"),
        "NEEDED": "p4ss-word",
        "NEEDED_FILE": str(tmp_path / "secret"),
        "SLOTS_FILE": str(tmp_path / "secret"),
        "MODE_FILE": str(tmp_path / "missing"),
        "HOSTS_FILE": str(tmp_path / "empty"),
        "MAYBE_FILE": str(tmp_path / "binary"),
    }
    with pytest.raises(SettingsError) as raised:
        load(Sample, environ)
    redis_url, *others = str(raised.value).splitlines()
    assert redis_url.startswith("REDIS_URL: must begin with redis://")
    assert others == [
        "NEEDED: is set, and so is NEEDED_FILE: one of them is enough",
        f"SLOTS: expected a whole number, got what is in {tmp_path}/secret",
        f"MODE: MODE_FILE names {tmp_path}/missing, which cannot be read: No such file or directory",
        f"HOSTS: HOSTS_FILE names {tmp_path}/empty, which is empty",
        f"MAYBE: MAYBE_FILE names {tmp_path}/binary, which is no text in UTF-8",
    ]
    assert "p4ss" not in str(raised.value)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        load(Sample, {"NEEDED": "x"}).slots = 3  # type: ignore[misc]


def test_a_child_inherits_the_environment_with_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "1")
    monkeypatch.setenv("CHANGED", "1")
    monkeypatch.setenv("DROPPED", "1")
    for name in ("KEPT", "CHANGED", "DROPPED"):
        monkeypatch.setenv(f"{name}_FILE", "/run/secrets/it")
    environ = inherited(CHANGED="2", DROPPED=None, NEVER_SET=None)
    assert (environ["KEPT"], environ["KEPT_FILE"], environ["CHANGED"]) == ("1", "/run/secrets/it", "2")
    assert not {"CHANGED_FILE", "DROPPED", "DROPPED_FILE", "NEVER_SET"} & environ.keys()


def test_a_variable_means_the_same_in_every_service() -> None:
    """The default of a variable that several services read is one number."""
    seen: dict[str, tuple[object, object]] = {}
    for service in (GatewaySettings, OperatorSettings, RunnerSettings):
        for field in msgspec.structs.fields(service):
            known = seen.setdefault(variable(field.name), (field.default, service))
            assert known[0] == field.default, f"{field.name}: {known[1]} and {service} differ"
