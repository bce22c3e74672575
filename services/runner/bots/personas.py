"""The assistant's personas: whole ones that come with a launch, and those that wait in `PERSONAS_DIR`.

One file is one persona, ``receptionist.toml`` the persona ``receptionist``. Its texts are templates:
``{{ participant }}`` is who called, ``{{ bot }}`` the persona's name, ``{{ labels.team }}`` the launch's label
``team``.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from services.runner.refusal import LaunchRefused
from shared.persona import BadField, OriginalFields, Persona, read

BUILT_IN = Persona(
    name="Pipefleet's assistant",
    instructions=(
        "You are {{ bot }}, in a voice call with {{ participant }}. What you say is spoken aloud: answer in one to "
        "three short sentences of plain speech, without lists, markup or emoji. Ask when you did not understand."
    ),
    greeting="Hello, I am {{ bot }}. How can I help you?",
)
SOMEBODY = "the caller"
"""The participant where nobody has said a name."""

_PLACE = re.compile(r"\{\{([^{}\n]*)\}\}")
"""A text comes with a launch: what is found between the braces must not be looked for in more ways than one."""


@dataclass(frozen=True)
class Call:
    """What templates can be filled with."""

    participant: str | None
    bot: str
    labels: Mapping[str, str]


def load(folder: str | None) -> dict[str, Persona]:
    """The personas of a folder, by name.

    Raises:
        LaunchRefused: the folder is not there, or a file in it is not a persona.
    """
    if folder is None:
        return {}
    if not Path(folder).is_dir():
        raise LaunchRefused(f"PERSONAS_DIR: {folder} is not a folder")
    files = sorted(file for file in Path(folder).iterdir() if file.suffix in {".toml", ".yaml", ".yml"})
    return {file.stem: _load(file) for file in files}


def chosen(asked: OriginalFields, personas: Mapping[str, Persona], default: str | None) -> Persona:
    """The persona of a call: the launch's own, the one that it names, or the usual one; gaps filled by the built-in.

    Raises:
        LaunchRefused: it names one that is not there, or its texts cannot be filled.
    """
    if isinstance(asked.persona, Persona):
        persona = asked.persona
    elif name := asked.persona or asked.personality_id or default:
        if name not in personas:
            known = ", ".join(sorted(personas)) or "none: PERSONAS_DIR is not set, or empty"
            raise LaunchRefused(f"There is no persona {name!r}. There are: {known}.")
        persona = personas[name]
    else:
        persona = BUILT_IN
    _check_places(persona, "persona")
    given = {field: value for field in persona.__struct_fields__ if (value := getattr(persona, field)) is not None}
    return msgspec.structs.replace(BUILT_IN, **given)


def filled(text: str, call: Call) -> str:
    """The text with its places filled; a label that the launch does not have leaves nothing."""

    def value(place: re.Match[str]) -> str:
        name = place[1].strip()
        if name.startswith("labels."):
            return call.labels.get(name.removeprefix("labels."), "")
        return call.bot if name == "bot" else call.participant or SOMEBODY

    return _PLACE.sub(value, text)


def _load(file: Path) -> Persona:
    try:
        text = file.read_text()
        persona = read(Persona, tomllib.loads(text) if file.suffix == ".toml" else yaml.safe_load(text))
    except (OSError, UnicodeDecodeError, BadField, tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        raise LaunchRefused(f"PERSONAS_DIR: {file.name}: {' '.join(str(error).split())}") from error
    _check_places(persona, f"PERSONAS_DIR: {file.name}")
    return persona


def _check_places(persona: Persona, where: str) -> None:
    for field in ("instructions", "greeting"):
        text: Any = getattr(persona, field)
        for name in map(str.strip, _PLACE.findall(text or "")):
            if name not in {"participant", "bot"} and not re.fullmatch(r"labels\.\S+", name):
                known = "participant, bot and labels.<name>"
                raise LaunchRefused(f"{where}: {field}: there is no {{{{ {name} }}}}; there are {known}.")
