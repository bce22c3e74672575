"""Finding a bot, and saying what is wrong with it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from pipecat.pipeline.worker import PipelineWorker  # noqa: F401 - once per process

import services
from services.runner.loading.bot_source import PIPELINES, BotImportError, Source, explain, load

SEES_ITS_NEIGHBOURS = """
import tools
from services import phone
SEEN = tools.NAME, phone.NAME
async def bot(runner_args): ...
def late():
    import late
    return late.NAMES
"""


def the_module(name: str) -> ModuleType:
    module = Source().bot(name).module
    assert isinstance(module, ModuleType)
    return module


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
    assert the_module(str(tmp_path / "my_bot.py")).GREETING == "hello"
    assert not {"my_bot", "neighbour_of_bot"} & set(sys.modules)


def test_bots_and_neighbours_of_the_same_names_in_two_folders_do_not_mix(tmp_path: Path) -> None:
    """Not at import, and not when a bot imports a neighbour only as it is called."""
    files = [tmp_path / name / "bot.py" for name in ("sales", "support")]
    for file in files:
        file.parent.mkdir()
        (file.parent / "tools.py").write_text(f"NAME = {file.parent.name!r}")
        (file.parent / "services").mkdir()
        (file.parent / "services" / "phone.py").write_text(f"NAME = {file.parent.name!r}")
        (file.parent / "late.py").write_text("import tools\nfrom services import phone\nNAMES = tools.NAME, phone.NAME")
        file.write_text(SEES_ITS_NEIGHBOURS)
    source = Source()
    bots = [source.bot(str(file)) for file in files]
    for bot, file in reversed(list(zip(bots, files, strict=True))):
        name = file.parent.name
        assert isinstance(bot.module, ModuleType)
        assert bot.folder
        assert (name, name) == bot.module.SEEN
        with bot.folder.entered():
            assert bot.module.late() == (name, name)
            assert sys.modules["bot"] is bot.module
    assert not {"bot", "tools", "late", "services.phone"} & set(sys.modules)
    assert not hasattr(services, "phone")


def test_a_bot_of_several_agents_is_imported_and_warmed_up_once(tmp_path: Path) -> None:
    file = tmp_path / "my_bot.py"
    file.write_text("warmed = []\ndef warm_up(): warmed.append(1)\nasync def bot(runner_args): ...")
    source = Source()
    assert source.bot(str(file)) is source.bot(str(file))
    module = source.bot(str(file)).module
    assert isinstance(module, ModuleType)
    assert module.warmed == [1]


def test_two_bots_in_one_folder_share_their_neighbours(tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text("THINGS = []")
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text("from tools import THINGS\nasync def bot(runner_args): ...")
    source = Source()
    one, two = (source.bot(str(tmp_path / name)).module for name in ("one.py", "two.py"))
    assert isinstance(one, ModuleType)
    assert isinstance(two, ModuleType)
    assert one.THINGS is two.THINGS


@pytest.mark.parametrize(
    ("bot", "tools", "speaks"),
    [
        ("", "", False),
        ("from pipecat.pipeline.worker import PipelineWorker", "", True),
        ("import tools", "def work():\n    from pipecat.pipeline.worker import PipelineWorker", True),
        ("from tools import work", "def work():\n    from pipecat.workers.runner import WorkerRunner", True),
        ("", "from pipecat.pipeline.worker import PipelineWorker", False),
    ],
)
def test_a_bot_speaks_through_pipelines_if_it_or_a_neighbour_that_it_uses_imports_them(
    tmp_path: Path, bot: str, tools: str, speaks: bool
) -> None:
    """Also after another bot of the process has imported them."""
    assert PIPELINES in sys.modules
    (tmp_path / "tools.py").write_text(tools)
    (tmp_path / "a_bot.py").write_text(f"{bot}\nasync def bot(runner_args): ...")
    (tmp_path / "other_bot.py").write_text("import tools\nasync def bot(runner_args): ...")
    source = Source()
    source.bot(str(tmp_path / "other_bot.py"))
    assert source.bot(str(tmp_path / "a_bot.py")).has_pipelines is speaks


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
