"""The Lua scripts by name. Each `.lua` file is headed by its keys, arguments and answer."""

from pathlib import Path
from typing import Any

from shared.redis.connection import Redis, translated

_FOLDER = Path(__file__).parent / "scripts"


class Script:
    """One script on one server: `EVALSHA`, and `EVAL` where the server has not seen it."""

    def __init__(self, redis: Redis, name: str) -> None:
        self._run = redis.register_script((_FOLDER / f"{name}.lua").read_text())

    @property
    def sha(self) -> str:
        """The name by which the server knows it."""
        return str(self._run.sha)

    async def __call__(self, keys: list[str], args: list[str | int]) -> Any:
        """Run it and give its raw answer.

        Raises:
            Unavailable: Redis does not answer.
        """
        with translated():
            return await self._run(keys=keys, args=args)

    async def queue(self, pipe: Any, keys: list[str], args: list[str | int]) -> None:
        """Run it as a part of a pipeline, which gives the answer."""
        await self._run(keys=keys, args=args, client=pipe)
