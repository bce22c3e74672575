"""The ground that every test stands on: a real server per test worker, and nothing left behind."""

import asyncio
import inspect
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from shared.process.orphans import adopt_orphans
from shared.redis import connection
from shared.redis.connection import Redis
from tests import leaks, machine
from tests.processes import Children, Fleet, running_fleet
from tests.redis_server import EMBEDDED, RedisServer
from up.children import living_children

_CHILDREN = pytest.StashKey[Children]()
_TOLD = "told under: "


def pytest_configure() -> None:
    adopt_orphans()
    # A shell without job control has what it runs in the background ignore Ctrl-C, and so would all that tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the test's processes wrote, when it failed."""
    report = yield
    children = item.stash.get(_CHILDREN, None)
    if report.failed and children:
        for child in children.started:
            report.sections.append((f"{child.name}, process {child.pid}", child.output()[-20_000:]))
    return report


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Says a line at the end of the run, under a heading; a worker's own output is not seen there."""
    return lambda line, under: request.node.user_properties.append((f"{_TOLD}{under}", line))


def _told(reports: Iterable[object]) -> dict[str, list[str]]:
    lines: dict[str, list[str]] = {}
    for report in reports:
        if getattr(report, "when", "") == "call":
            for name, line in getattr(report, "user_properties", ()):
                if name.startswith(_TOLD):
                    lines.setdefault(name.removeprefix(_TOLD), []).append(line)
    return lines


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for heading, lines in _told(chain(*terminalreporter.stats.values())).items():
        for line in (heading, *lines):
            terminalreporter.write_line(line)
    for line in machine.missing():
        terminalreporter.write_line(f"NOT TESTED: {line}", yellow=True)


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest, _servers: dict[str, RedisServer]) -> Iterator[None]:
    """Fail a test that leaves a process or an asyncio task behind. Set up first, so it looks last."""
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        request.getfixturevalue("no_task_left_behind")
    before = living_children()
    yield
    left = leaks.left_over(before)
    assert not left, "processes were left over:\n" + "\n".join(left)


@pytest.fixture
async def no_task_left_behind() -> AsyncIterator[None]:
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks were left over: {left}"


@pytest.fixture(scope="session")
def _servers() -> Iterator[dict[str, RedisServer]]:
    """A server of each kind that this machine has; all from the start, so that none looks like a test's left-over."""
    programs = {"valkey": EMBEDDED, "redis-server": shutil.which("redis-server")}
    with TemporaryDirectory(prefix="pipefleet-test-") as folder, ExitStack() as running:
        servers = {}
        for name, program in programs.items():
            if program:
                place = Path(folder, name)
                place.mkdir()
                servers[name] = RedisServer(program, place)
                servers[name].start()
                running.callback(servers[name].kill)
        yield servers


def _emptied(server: RedisServer) -> str:
    with server.client() as client:
        client.flushall()
    return server.url


@pytest.fixture
def redis_url(_servers: dict[str, RedisServer]) -> str:
    """The address of a real, empty server."""
    return _emptied(_servers["valkey"])


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client of it, as the services make theirs."""
    async with connection.connect(redis_url) as client:
        yield client


@pytest.fixture(params=["valkey", "redis-server"])
def any_server(request: pytest.FixtureRequest, _servers: dict[str, RedisServer]) -> str:
    """Both kinds of server in turn: the embedded Valkey, and `redis-server`."""
    if request.param not in _servers:
        machine.need(request.param)
    return _emptied(_servers[request.param])


@pytest.fixture
async def any_redis(any_server: str) -> AsyncIterator[Redis]:
    """A client of each kind of server in turn."""
    async with connection.connect(any_server) as client:
        yield client


@pytest.fixture
async def children(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str) -> AsyncIterator[Children]:
    """Starts services on `redis_url`; whatever still lives at the end of the test is stopped."""
    group = request.node.stash[_CHILDREN] = Children(tmp_path, {"REDIS_URL": redis_url})
    yield group
    await group.stop()


StartFleet = Callable[..., AbstractAsyncContextManager[Fleet]]


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """Where the bots of this test write what they did, as BOT_RECORD."""
    return tmp_path / "record"


@pytest.fixture
def fleet_of(children: Children, redis: Redis) -> StartFleet:
    """What `running_fleet` says, with the server and the processes of this test."""
    return partial(running_fleet, children, redis)
