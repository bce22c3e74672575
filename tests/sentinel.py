"""A primary and its replica, watched by a sentinel, on loopback ports; all of them want passwords."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from tests.processes import free_port
from tests.redis_server import AT_ONCE, EMBEDDED, START_S, RedisServer
from up.children import dies_with_us

SERVICE = "bots"
PASSWORD = "server-password"
SENTINEL_PASSWORD = "sentinel-password"
UNNOTICED_MS = 60_000
"""Until a test strikes, nobody fails over because this machine was busy."""
DOWN_AFTER_MS = 300
FAILOVER_S = 30.0
"""Sentinels wait for up to a second at random, look around every second, and try again when an attempt failed."""


class Sentinel:
    """One sentinel, which also listens on a unix socket of its own, for the test ground."""

    def __init__(self, program: str, folder: Path, *configuration: str) -> None:
        self._socket = folder / "sentinel.sock"
        self._file = folder / "sentinel.conf"
        ground = ("bind 127.0.0.1", f"dir {folder}", f"unixsocket {self._socket}", f"logfile {folder}/sentinel.log")
        self._file.write_text("\n".join((*ground, *configuration, "")))
        self._command = [program, str(self._file), "--sentinel"]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Does not wait for it: `until` does."""
        self._process = subprocess.Popen(dies_with_us(self._command), stdin=subprocess.DEVNULL)

    def ask(self, *command: str) -> Any:
        """What it answers."""
        with redis.Redis(
            unix_socket_path=str(self._socket), password=SENTINEL_PASSWORD, decode_responses=True, retry=AT_ONCE
        ) as client:
            return client.execute_command(*command)

    def kill(self) -> None:
        """Without a chance to say goodbye."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


class Watched:
    """Both servers and their sentinel. `kill` leaves nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = [free_port(), free_port()]
        self.servers = [self._server(number) for number in (0, 1)]
        self._sentinel_port = free_port()
        self._sentinel = Sentinel(
            EMBEDDED,
            folder,
            f"port {self._sentinel_port}",
            f"requirepass {SENTINEL_PASSWORD}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {self._ports[0]} 1",
            f"sentinel auth-pass {SERVICE} {PASSWORD}",
            f"sentinel down-after-milliseconds {SERVICE} {UNNOTICED_MS}",
            f"sentinel failover-timeout {SERVICE} 3000",
        )

    @property
    def url(self) -> str:
        """Through the sentinel; the first one that is named is not there."""
        hosts = f"127.0.0.1:{free_port()},127.0.0.1:{self._sentinel_port}"
        return f"sentinel://:{PASSWORD}@{hosts}/{SERVICE}/0?sentinel_password={SENTINEL_PASSWORD}"

    def start(self) -> None:
        """Returns when the replica follows the primary, and the sentinel knows both."""
        for server in self.servers:
            server.start()
        # A sentinel looks at a replica every ten seconds: what it sees first had better be right.
        until_true(self._in_step)
        self._sentinel.start()
        until_true(self._replica_can_take_over)

    def watch_closely(self) -> None:
        """From now on a primary that does not answer is soon down."""
        self._sentinel.ask("SENTINEL SET", SERVICE, "down-after-milliseconds", str(DOWN_AFTER_MS))

    def failed_over(self) -> bool:
        """Whether the other server is the primary now, for the sentinel and for itself."""
        if self._sentinel.ask("SENTINEL GET-MASTER-ADDR-BY-NAME", SERVICE)[1] != self._ports[1]:
            return False
        with self.client(1) as client:
            return bool(client.execute_command("ROLE")[0] == b"master")

    def client(self, number: int) -> "redis.Redis":
        """A blocking client of one server, for the test ground itself."""
        return redis.Redis(port=self._ports[number], password=PASSWORD, retry=AT_ONCE)

    def kill(self) -> None:
        """All of them."""
        self._sentinel.kill()
        for server in self.servers:
            server.kill()

    def _server(self, number: int) -> RedisServer:
        folder = self._folder / str(number)
        folder.mkdir()
        options = ["--port", str(self._ports[number]), "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0"]
        options += ["--requirepass", PASSWORD, "--masterauth", PASSWORD, "--appendonly", "yes"]
        if number:
            options += ["--replicaof", "127.0.0.1", str(self._ports[0])]
        return RedisServer(EMBEDDED, folder, *options)

    def _replica_can_take_over(self) -> bool:
        replicas = self._sentinel.ask("SENTINEL REPLICAS", SERVICE)
        return any(replica["master-link-status"] == "ok" for replica in replicas)

    def _in_step(self) -> bool:
        with self.client(1) as client:
            return bool(client.info("replication")["master_link_status"] == "up")


def until_true(condition: Callable[[], bool]) -> None:
    """Returns when servers that are just starting have come so far."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            if condition():
                return
        except redis.ConnectionError:
            pass  # not up yet
        assert time.monotonic() < deadline, "servers and sentinel do not know each other"
        time.sleep(0.01)
