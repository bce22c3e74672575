"""What is for the bot alone is sealed wherever it is at rest, and opens for its own session alone."""

import base64
import os
from typing import Any

import msgspec
import pytest

from shared.contract import Candidates, Custom, Interrupt, Leave, Message, Offer, Say, Sealed
from shared.errors import BadEntry
from shared.sealing import Seals, parse
from tests.launching import a_launch


def a_key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


OLD, NEW = a_key(), a_key()
LAUNCH = a_launch(transport="daily", token="the-token", body={"who": "the-patient"}, labels={"team": "one"})
ID: dict[str, Any] = {"command_id": "c1", "reply_to": "g1", "expires_s": 3.0}


def test_a_sealed_launch_shows_neither_token_nor_body_and_opens_to_what_it_was() -> None:
    sealed = Seals(NEW).closed(LAUNCH)
    assert "the-" not in msgspec.json.encode(sealed).decode()
    assert (sealed.token, sealed.body, sealed.labels) == (None, None, LAUNCH.labels)
    assert Seals(NEW).opened(sealed) == LAUNCH


def test_two_seals_of_the_same_are_not_the_same() -> None:
    assert Seals(NEW).closed(LAUNCH) != Seals(NEW).closed(LAUNCH)


def test_during_a_rotation_each_key_opens_and_the_first_one_seals() -> None:
    both = Seals(f"{NEW}, {OLD}")
    assert both.opened(Seals(OLD).closed(LAUNCH)) == LAUNCH
    assert Seals(NEW).opened(both.closed(LAUNCH)) == LAUNCH
    with pytest.raises(BadEntry, match=r"sealed with the key [0-9a-f]{8}, which PAYLOAD_KEYS does not have"):
        Seals(OLD).opened(both.closed(LAUNCH))


def test_without_keys_nothing_is_sealed_and_what_is_plain_opens_with_any() -> None:
    assert Seals().closed(LAUNCH) is LAUNCH
    assert Seals(NEW).opened(LAUNCH) is LAUNCH
    with pytest.raises(BadEntry):
        Seals().opened(Seals(NEW).closed(LAUNCH))


def test_what_is_sealed_is_not_sealed_twice() -> None:
    sealed = Seals(OLD).closed(LAUNCH)
    assert Seals(NEW).closed(sealed) is sealed


def test_what_was_sealed_for_one_session_does_not_open_in_another() -> None:
    moved = msgspec.structs.replace(a_launch(), sealed=Seals(NEW).closed(LAUNCH).sealed)
    with pytest.raises(BadEntry, match="sealed for something else, or changed since"):
        Seals(NEW).opened(moved)


def test_a_launch_and_a_command_of_one_session_do_not_open_as_each_other() -> None:
    """A command in the place of its session's launch was no `BadEntry`, but the end of whoever read it."""
    seals, its = Seals(NEW), LAUNCH.session_id
    command = seals.closed_command(its, Custom(**ID, data={"token": "other", "body": None}))
    assert isinstance(command, Sealed)
    for sealed in (command.sealed, seals._seal(b'{"body":1}', "launch", its), seals._seal(b"\xff", "launch", its)):
        with pytest.raises(BadEntry):
            seals.opened(msgspec.structs.replace(LAUNCH, sealed=sealed))
    with pytest.raises(BadEntry, match="sealed for something else"):
        seals.opened_command(its, msgspec.structs.replace(command, sealed=seals.closed(LAUNCH).sealed))


@pytest.mark.parametrize("spoilt", ["", "no dot", ".", "{name}.", "{name}.not base64!", "{name}.QUJD", "{sealed}AAAA"])
def test_what_was_tampered_with_is_refused(spoilt: str) -> None:
    sealed = Seals(NEW).closed(LAUNCH).sealed
    text = spoilt.format(name=sealed.partition(".")[0], sealed=sealed) or "."
    with pytest.raises(BadEntry):
        Seals(NEW).opened(msgspec.structs.replace(LAUNCH, sealed=text))


@pytest.mark.parametrize(
    "command",
    [
        Say(**ID, text="the-words"),
        Message(**ID, text="the-words", sender_name="the-sender"),
        Custom(**ID, data={"the": "the-words"}),
        Offer(**ID, sdp="the-words", sdp_type="offer", request_data={"who": "the-patient"}),
        Candidates(**ID, pc_id="the-pc", candidates=()),
    ],
    ids=lambda command: str(command.__struct_config__.tag),
)
def test_a_command_shows_its_kind_and_whom_to_answer_and_nothing_more(command: Say) -> None:
    sealed = Seals(NEW).closed_command("s1", command)
    assert isinstance(sealed, Sealed)
    assert (sealed.command_id, sealed.reply_to, sealed.expires_s) == ("c1", "g1", 3.0)
    assert sealed.kind == command.__struct_config__.tag
    assert "the-" not in msgspec.json.encode(sealed).decode()
    assert Seals(NEW).opened_command("s1", sealed) == command
    with pytest.raises(BadEntry):
        Seals(NEW).opened_command("s2", sealed)


@pytest.mark.parametrize("command", [Leave(**ID), Interrupt(**ID)])
def test_what_says_nothing_more_than_its_kind_needs_no_key(command: Leave) -> None:
    assert Seals(NEW).closed_command("s1", command) is command


@pytest.mark.parametrize("keys", ["short", "QUJD", "{good}x", "{good},x", f"{'_' * 43}=", "?" * 44])
def test_a_bad_key_is_refused_without_showing_it(keys: str) -> None:
    with pytest.raises(ValueError, match=r"^key [12] is not 32 bytes in base64, as of `openssl rand -base64 32`$"):
        parse(keys.format(good=OLD))


@pytest.mark.parametrize("keys", [",", " , ,"])
def test_a_list_without_a_key_is_not_taken_for_the_wish_to_seal_nothing(keys: str) -> None:
    """PAYLOAD_KEYS=$NEW,$OLD with neither of them set left every token in Redis for all to read."""
    with pytest.raises(ValueError, match=r"^there is no key in it, and nothing would be sealed$"):
        parse(keys)
