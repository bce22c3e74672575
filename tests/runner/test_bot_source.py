"""Finding a bot, and saying what is wrong with it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.runner.bot_source import BotImportError, explain, load


@pytest.fixture(autouse=True)
def _import_state() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def test_a_file_is_a_bot_and_may_import_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_bot.py").write_text("GREETING = 'hello'")
    (tmp_path / "my_bot.py").write_text("from neighbour_of_bot import GREETING\nasync def bot(runner_args): ...")
    assert load(str(tmp_path / "my_bot.py")).GREETING == "hello"


def test_a_dotted_module_is_a_bot() -> None:
    assert load("tests.bots.scripted").__name__ == "tests.bots.scripted"


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("x = 1", "has no `async def bot(runner_args)`"),
        ("def bot(runner_args): ...", "has no `async def bot(runner_args)`"),
        ("import missing_module_of_mine", "ModuleNotFoundError: No module named 'missing_module_of_mine'"),
        ("raise SystemExit('no key')", "SystemExit: no key"),
        ("def f(:", "SyntaxError"),
        ("x = 1\nint('a')", "(my_bot.py:2 in <module>: int('a'))"),
    ],
)
def test_a_file_that_is_no_bot_is_refused_with_the_reason(tmp_path: Path, source: str, complaint: str) -> None:
    (tmp_path / "my_bot.py").write_text(source)
    with pytest.raises(BotImportError) as refused:
        load(str(tmp_path / "my_bot.py"))
    assert complaint in str(refused.value)


def test_a_bot_that_refuses_says_why_in_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "my_bot.py").write_text(
        "from services.runner.refusal import LaunchRefused\n"
        "def warm_up(): raise LaunchRefused('There is no key.')\n"
        "async def bot(runner_args): ..."
    )
    with pytest.raises(BotImportError) as refused:
        load(str(tmp_path / "my_bot.py"))
    assert str(refused.value) == "There is no key."


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(BotImportError, match=r"/nowhere/bot\.py is not there"):
        load("/nowhere/bot.py")


def test_an_exception_is_explained_with_type_message_and_place() -> None:
    try:
        int("x")
    except ValueError as error:
        told = explain(error)
    assert told.startswith("ValueError: invalid literal for int()")
    assert "test_bot_source.py:" in told
    assert told.endswith('int("x"))')
