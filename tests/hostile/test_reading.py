"""Whatever stands in a stream, reading it gives a message or `BadEntry`, and folding what was read gives a session."""

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.gateway import sessions
from services.gateway.events import told
from services.gateway.events.positions import Position
from services.gateway.session_views import timeline, view
from services.operator.kubernetes.warm_pool import demand, needed
from services.operator.webhooks.deliveries import body_of
from shared import dead_letters, events
from shared.commands import Unreadable
from shared.contract import AnyActivity, AnyCommand, AnyEvent, DeadLetter, Launch, Presence, Queued, Reply, RoomNote
from shared.errors import BadEntry
from shared.launches import EntryId, queued
from shared.redis.entries import Decoder
from tests.contract.test_golden import MESSAGES
from tests.hostile.entries import URLS, WRONG, damaged, malformed
from tests.launching import a_launch

DECODERS: dict[str, Decoder[Any]] = {
    str(kind): Decoder(kind)
    for kind in (Launch, AnyEvent, AnyActivity, AnyCommand, Reply, Presence, DeadLetter, RoomNote)
}
ours = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.sampled_from(WRONG + URLS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def changed(draw: st.DrawFn, messages: list[msgspec.Struct]) -> str:
    """A message of ours in which some fields say something else."""
    values = msgspec.to_builtins(draw(st.sampled_from(messages)))
    for name in draw(st.lists(st.sampled_from(sorted(values)), max_size=2)):
        values[name] = draw(anything)
    return msgspec.json.encode(values, order="sorted").decode(errors="replace")


def a_history() -> st.SearchStrategy[list[str]]:
    kinds = tuple(get_args(AnyEvent))
    return st.lists(changed([one for one in MESSAGES if isinstance(one, kinds)]), max_size=8)


def as_read(text: str | bytes) -> dict[str, str]:
    """The fields of an entry as the services' clients give them."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return {"json": raw.decode(errors="backslashreplace")}


@given(st.text() | st.binary().map(lambda raw: raw.decode(errors="backslashreplace")) | changed(list(MESSAGES)))
@ours
def test_an_entry_is_a_message_or_a_bad_entry(text: str) -> None:
    for decode in DECODERS.values():
        try:
            message = decode({"json": text})
        except BadEntry:
            continue
        # What was read can be written again, such as into a dead letter or the answer to a request.
        assert msgspec.json.encode(message)
    body_of(EntryId("1-0"), {"json": text})


def test_no_reader_makes_sense_of_what_is_malformed() -> None:
    for fields in [*malformed(a_launch()), *(fields for message in MESSAGES for fields in damaged(message))]:
        entry = {name.decode(errors="backslashreplace"): as_read(value)["json"] for name, value in fields.items()}
        for decode in DECODERS.values():
            with pytest.raises(BadEntry):
                decode(entry)


@given(a_history())
@ours
def test_a_history_of_anything_folds_to_a_session_that_can_be_shown_or_to_none(texts: list[str]) -> None:
    history = events.decode((f"{number}-0", {"json": text}) for number, text in enumerate(texts, 1))
    session = sessions.fold(history)
    assert (session is None) == (not any(isinstance(event, Queued) for _, event in history))
    assert session is None or msgspec.json.encode(view(session))
    assert msgspec.json.encode(timeline(history))
    for number, text in enumerate(texts, 1):
        one = told.read(f"{number}-0", {"json": text}, is_state=True, before=Position())
        assert one is None or one.whole


@given(st.lists(changed([one for one in MESSAGES if isinstance(one, Presence)]), max_size=4))
@ours
def test_no_presence_makes_the_warm_pool_fail(texts: list[str]) -> None:
    from services.operator.settings import OperatorSettings  # noqa: PLC0415

    runners = []
    for text in texts:
        try:
            runners.append(DECODERS[str(Presence)]({"json": text}))
        except BadEntry:
            continue
    found = demand(runners, agents=[""], waiting=1, coming=0, slots=2)
    assert 0 <= needed(found, OperatorSettings()) <= OperatorSettings().warm_max


@given(changed([one for one in MESSAGES if isinstance(one, DeadLetter)]))
@ours
def test_a_dead_letter_of_anything_can_be_shown(text: str) -> None:
    from services.gateway.dead_letters import view as letter_view  # noqa: PLC0415

    assert msgspec.json.encode(letter_view("1-0", dead_letters._decoded({"json": text})))


def test_a_readable_launch_with_a_strange_room_can_be_told_and_kept() -> None:
    for room_url in URLS:
        launch = a_launch(room_url or "none")
        assert msgspec.json.encode(queued(launch))


def test_of_an_unreadable_command_only_words_are_taken() -> None:
    decode: Decoder[Unreadable] = Decoder(Unreadable)
    assert decode({"json": '{"command_id":"c-1","reply_to":"g.1","type":"later"}'}).type == "later"
    for field in ("command_id", "reply_to", "type"):
        for value in ('"a:b"', '"{x}"', '"' + "x" * 201 + '"', '"a\\n"'):
            with pytest.raises(BadEntry):
                decode({"json": f'{{"{field}":{value}}}'})
