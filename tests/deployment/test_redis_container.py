"""The command of the Redis container, with a real server."""

from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError

from tests.deployment.manifests import Manifests
from tests.processes import Child, Children, free_port
from tests.redis_server import EMBEDDED
from tests.waiting import until

PASSWORD = "p4ss-word"


def start(fleet: Manifests, children: Children, folder: Path, port: int) -> Child:
    """The container's own command and configuration, in folders and on a port of the test's."""
    (container,) = fleet.one("StatefulSet", "redis")["spec"]["template"]["spec"]["containers"]
    conf = fleet.one("ConfigMap", "redis")["data"]["valkey.conf"]
    (folder / "data").mkdir(exist_ok=True)
    (folder / "valkey.conf").write_text(f"{conf.replace('dir /data', f'dir {folder}/data')}\nport {port}\n")
    if not (folder / "valkey-server").exists():
        (folder / "valkey-server").symlink_to(EMBEDDED)
    shell, flags, script = container["command"]
    (mount,) = [one["mountPath"] for one in container["volumeMounts"] if one["name"] == "conf"]
    (password,) = [one["name"] for one in container["env"]]
    env = {password: PASSWORD, "PATH": f"{folder}:/usr/bin:/bin"}
    return children.start("redis", [shell, flags, script.replace(f"{mount}/", f"{folder}/")], (), **env)


async def answers(client: Redis) -> bool:
    try:
        return bool(await client.ping())
    except RedisError:
        return False


async def test_it_wants_the_password_keeps_what_it_accepted_and_stops_when_told(
    fleet: Manifests, children: Children, tmp_path: Path
) -> None:
    port = free_port()
    server = start(fleet, children, tmp_path, port)
    at_once = Retry(NoBackoff(), 0)
    ours = Redis(port=port, password=PASSWORD, retry=at_once)
    async with ours as redis, Redis(port=port, retry=at_once) as stranger:
        await until(lambda: answers(redis))
        with pytest.raises(AuthenticationError):
            await stranger.ping()
        assert (await redis.config_get("appendfsync"))["appendfsync"] == "always"
        await redis.set("kept", "1")
        server.kill()
        await server.wait()
        again = start(fleet, children, tmp_path, port)
        await until(lambda: answers(redis))
        assert await redis.get("kept") == b"1"
        command = Path(f"/proc/{again.pid}/cmdline").read_text()
        assert "valkey-server" in command
        assert PASSWORD not in command
    again.terminate()
    assert await again.wait() == 0
