"""What witnessed bots have left on the disk: when each was in its room, and whether it was alone there."""

import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path


@dataclass(frozen=True)
class Stay:
    """One bot's time in its room, as its beats have it."""

    room: str
    session_id: str
    attempt: int
    pid: int
    beats: tuple[float, ...]


@dataclass(frozen=True)
class Meeting:
    """A bot found another in its room. One that was stopped, and never did anything again, is only its remains."""

    at: float
    newcomer: str
    other: str
    other_state: str


def stays(folder: Path) -> list[Stay]:
    """All of them, by their first beat."""
    found = []
    for file in folder.glob("*.beats"):
        room, session_id, attempt, pid = file.name.removesuffix(".beats").rsplit(".", 3)
        content = file.read_bytes()
        content = content[: len(content) // 8 * 8]
        if content:
            beats = tuple(beat for (beat,) in struct.iter_unpack("d", content))
            found.append(Stay(room, session_id, int(attempt), int(pid), beats))
    return sorted(found, key=lambda stay: stay.beats[0])


def meetings(folder: Path) -> list[Meeting]:
    """Every time that a bot was not alone."""
    file = folder / "met"
    found = []
    for line in file.read_text().splitlines() if file.exists() else []:
        at, newcomer, other, state = (*line.split(" "), "", "")[:4]
        found.append(Meeting(float(at), newcomer, other, state))
    return found


def doubled(folder: Path) -> list[str]:
    """A sentence for each instant at which two bots were alive in one room."""
    everyone = stays(folder)
    found = []
    for meeting in meetings(folder):
        others = [stay for stay in everyone if meeting.other.endswith(f".{stay.session_id}.{stay.attempt}.{stay.pid}")]
        revived = any(beat > meeting.at for stay in others for beat in stay.beats)
        if meeting.other_state != "T" or revived:
            found.append(f"{meeting.newcomer} met {meeting.other} ({meeting.other_state}) at {meeting.at:.3f}")
    by_room: dict[str, list[Stay]] = {}
    for stay in everyone:
        for earlier in by_room.setdefault(stay.room, []):
            if earlier.beats[-1] > stay.beats[0]:
                overlap_s = earlier.beats[-1] - stay.beats[0]
                found.append(f"{stay.room}: {earlier} and {stay} for {overlap_s:.3f} s")
        by_room[stay.room].append(stay)
    return found


def longest_silence_s(folder: Path, session_id: str) -> float:
    """The longest time without a beat between the first and the last of a session."""
    beats = sorted(beat for stay in stays(folder) if stay.session_id == session_id for beat in stay.beats)
    return max((after - before for before, after in pairwise(beats)), default=0.0)
