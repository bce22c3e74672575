"""What the command prints is read by terminals, and some of it was chosen by callers and bots."""

import json

import pytest

from pipefleet.tables import plain, say_json, table

HOSTILE = "a\x1b[2J\x9b31m\u202eb\x00\U000e0001c"


def test_no_line_has_anything_that_a_terminal_obeys() -> None:
    for text in (plain(HOSTILE), table(("name",), [(HOSTILE,)], nothing=""), table(("n",), [(["\x9b"],)], nothing="")):
        assert text.replace("\n", "").isprintable()
    assert plain("one\ntwo") == "one\ntwo"


def test_a_document_for_scripts_is_the_same_and_plain_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    for line in (True, False):
        say_json({"labels": {HOSTILE: "für\n"}}, line=line)
        text = capsys.readouterr().out
        assert text.replace("\n", "").isprintable()
        assert json.loads(text) == {"labels": {HOSTILE: "für\n"}}
        assert "für" in text
