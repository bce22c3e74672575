"""The command of the Redis container, with a real server."""

from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from tests.deployment.manifests import Manifests
from tests.processes import Child, Children, free_port
from tests.redis_server import EMBEDDED
from tests.redis_users import PASSWORDS
from tests.waiting import until

OVER_ALL = "p4ss-word"
AT_ONCE = Retry(NoBackoff(), 0)


def start(fleet: Manifests, children: Children, folder: Path, port: int, **env: str) -> Child:
    """The container's own command and configuration, in folders and on a port of the test's."""
    (container,) = fleet.one("StatefulSet", "redis")["spec"]["template"]["spec"]["containers"]
    files = dict(fleet.one("ConfigMap", "redis")["data"])
    files["valkey.conf"] = f"{files['valkey.conf'].replace('dir /data', f'dir {folder}/data')}\nport {port}\n"
    (folder / "data").mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    if not (folder / "valkey-server").exists():
        (folder / "valkey-server").symlink_to(EMBEDDED)
    shell, flags, script = container["command"]
    (mount,) = [one["mountPath"] for one in container["volumeMounts"] if one["name"] == "conf"]
    known = {one["name"] for one in container["env"]}
    given = {**PASSWORDS, **env}
    assert given.keys() <= known
    return children.start(
        "redis", [shell, flags, script.replace(f"{mount}/", f"{folder}/")], (), PATH=f"{folder}:/usr/bin:/bin", **given
    )


async def answers(client: Redis) -> bool:
    try:
        return bool(await client.ping())
    except RedisError:
        return False


async def test_it_lets_its_users_in_keeps_what_it_accepted_and_stops_when_told(
    fleet: Manifests, children: Children, tmp_path: Path
) -> None:
    port = free_port()
    server = start(fleet, children, tmp_path, port)
    ours = Redis(port=port, username="gateway", password=PASSWORDS["REDIS_PASSWORD_GATEWAY"], retry=AT_ONCE)
    wrong = Redis(port=port, username="gateway", password=PASSWORDS["REDIS_PASSWORD_RUNNER"], retry=AT_ONCE)
    async with ours as redis, wrong as impostor, Redis(port=port, retry=AT_ONCE) as stranger:
        await until(lambda: answers(redis))
        with pytest.raises(AuthenticationError):
            await impostor.ping()
        assert await stranger.ping(), "as the probes do"
        with pytest.raises(NoPermissionError):
            await stranger.get("{bot}:room:kept")
        await redis.set("{bot}:room:kept", "1")
        server.kill()
        await server.wait()
        again = start(fleet, children, tmp_path, port)
        await until(lambda: answers(redis))
        assert await redis.get("{bot}:room:kept") == b"1"
        command = Path(f"/proc/{again.pid}/cmdline").read_text()
        assert "valkey-server" in command
        assert not [password for password in PASSWORDS.values() if password in command]
    again.terminate()
    assert await again.wait() == 0


async def test_with_one_password_for_all_as_before_its_holder_may_do_everything_and_nobody_comes_without(
    fleet: Manifests, children: Children, tmp_path: Path
) -> None:
    """Runners of an older release finish their calls with it."""
    port = free_port()
    start(fleet, children, tmp_path, port, REDISCLI_AUTH=OVER_ALL)
    whole = Redis(port=port, password=OVER_ALL, retry=AT_ONCE, decode_responses=True)
    ours = Redis(port=port, username="runner", password=PASSWORDS["REDIS_PASSWORD_RUNNER"], retry=AT_ONCE)
    async with whole as redis, ours as runner, Redis(port=port, retry=AT_ONCE) as stranger:
        await until(lambda: answers(redis))
        with pytest.raises(AuthenticationError):
            await stranger.ping()
        told = await redis.config_get("appendfsync", "protected-mode")
        assert told == {"appendfsync": "always", "protected-mode": "no"}
        assert await runner.ping()
        assert PASSWORDS["REDIS_PASSWORD_RUNNER"] not in str(await redis.acl_list())
