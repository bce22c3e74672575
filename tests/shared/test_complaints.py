"""What is said of a value that does not fit."""

import pytest

from shared.complaints import in_words


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Expected `float | null`, got `str`", "Expected a number or null, got text"),
        ("Expected `int` >= 1", "Expected a whole number >= 1"),
        ("Object contains unknown field `str`", "Object contains unknown field `str`"),
        ("Object missing required field `object`", "Object missing required field `object`"),
    ],
)
def test_types_get_their_usual_names_and_fields_keep_theirs(said: str, words: str) -> None:
    assert in_words(said) == words
