"""Personas from files and from launches."""

import time
from pathlib import Path
from typing import Any

import pytest

from services.runner.bots import personas
from services.runner.bots.assistant_body import read_body
from services.runner.refusal import LaunchRefused
from shared.persona import Persona

RECEPTIONIST = """
name = "Ada"
instructions = "You answer the phone of {{ labels.team }}. {{ participant }} is calling."
greeting = "Hello {{ participant }}, this is {{ bot }}."
language = "en-GB"
voice = "f5"

[voiceParameters]
speed = 1.2
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "receptionist.toml").write_text(RECEPTIONIST)
    (tmp_path / "poet.yaml").write_text("name: Basho\ngreeting: An old pond.\n")
    (tmp_path / "notes.txt").write_text("nothing")
    return tmp_path


def chosen(folder: Path | None, body: Any, default: str | None = None) -> Persona:
    return personas.chosen(read_body(body), personas.load(str(folder) if folder else None), default)


@pytest.mark.parametrize(
    ("body", "default", "name"),
    [
        ({"persona": "receptionist"}, None, "Ada"),
        ({"personalityId": "poet"}, None, "Basho"),
        ({"persona": "poet", "personalityId": "receptionist"}, None, "Basho"),
        ({"persona": {"name": "Eve"}}, "poet", "Eve"),
        ({}, "poet", "Basho"),
        (None, None, personas.BUILT_IN.name),
    ],
)
def test_the_launch_chooses_before_the_settings(folder: Path, body: Any, default: str | None, name: str) -> None:
    assert chosen(folder, body, default).name == name


def test_what_a_persona_leaves_open_is_as_in_the_built_in_one(folder: Path) -> None:
    poet = chosen(folder, {"persona": "poet"})
    assert poet.instructions == personas.BUILT_IN.instructions
    assert poet.greeting == "An old pond."


def test_templates_get_the_participant_and_the_labels(folder: Path) -> None:
    persona = chosen(folder, {"persona": "receptionist"})
    call = personas.Call("Bob", "Ada", {"team": "sales"})
    assert personas.filled(persona.greeting or "", call) == "Hello Bob, this is Ada."
    assert personas.filled(persona.instructions or "", call) == "You answer the phone of sales. Bob is calling."


def test_what_nobody_said_leaves_a_sentence_whole() -> None:
    call = personas.Call(None, "Ada", {})
    assert personas.filled("{{participant}} of {{ labels.team }}.", call) == "the caller of ."


def test_a_name_is_not_taken_for_a_template() -> None:
    assert personas.filled("Hi {{ participant }}", personas.Call("{{ bot }}", "Ada", {})) == "Hi {{ bot }}"


@pytest.mark.parametrize("text", ["{{" + " " * 32_000, "{{" * 16_000, "{{ " * 10_000, "{" * 32_000 + "}"])
def test_a_text_without_an_end_takes_no_longer_than_another(text: str) -> None:
    """A launch's `instructions` of two braces and many spaces kept its bot busy for hours."""
    began = time.process_time()
    assert chosen(None, {"persona": {"instructions": text}}).instructions == text
    assert time.process_time() - began < 1


def test_an_unknown_persona_is_refused_with_those_that_there_are(folder: Path) -> None:
    with pytest.raises(LaunchRefused, match=r"no persona 'chef'. There are: poet, receptionist\."):
        chosen(folder, {"persona": "chef"})


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.toml", "name = ", "a.toml: Invalid value"),
        ("b.toml", 'nmae = "Ada"', "b.toml: object contains unknown field `nmae`"),
        ("c.yaml", "name: [", "c.yaml: while parsing"),
        ("d.yaml", "voiceParameters: {stability: 7}", "d.yaml: voiceParameters.stability: expected a number <= 1.0"),
        ("e.toml", 'greeting = "Hi {{ user }}"', "e.toml: greeting: there is no {{ user }}"),
        ("f.yaml", "just text", "f.yaml: expected an object"),
    ],
)
def test_a_bad_file_is_refused_by_its_name(tmp_path: Path, name: str, text: str, complaint: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(LaunchRefused) as refused:
        personas.load(str(tmp_path))
    assert complaint in str(refused.value)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LaunchRefused, match=r"PERSONAS_DIR: .* is not a folder"):
        personas.load(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"voiceParameters": {"speed": "fast"}}, "body: voiceParameters.speed: expected"),
        ({"persona": {"greeting": 7}}, "body: persona.greeting: expected"),
        ({"dialin_settings": {"call_id": "1"}}, "body: dialin_settings: object missing required field `call_domain`"),
        ("hello", "body: expected an object"),
        (["hello"], "body: expected an object"),
    ],
)
def test_a_bad_body_is_refused_by_the_fields_name(body: Any, complaint: str) -> None:
    with pytest.raises(LaunchRefused) as refused:
        read_body(body)
    assert str(refused.value).startswith(complaint)
