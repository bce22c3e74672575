"""What a process writes into its file in memory, as the supervisor finds it there."""

import asyncio
import os

from structlog.testing import capture_logs

from services.runner.logs.bot_output import BotOutput


async def test_what_is_written_after_somebody_has_opened_standard_output_anew_is_read() -> None:
    """`echo … > /dev/stdout` in a shell empties the file: all output up to its former length was lost."""
    output = BotOutput()
    with capture_logs() as lines:
        os.write(output.fd, b"a long line before, longer than all that follows\n")
        output.look()
        shell = await asyncio.create_subprocess_shell("echo from a shell > /dev/stdout", stdout=output.fd)
        assert await shell.wait() == 0
        output.look()
        os.write(output.fd, b"after\n")
        output.close()
    said = [line["said"] for line in lines]
    assert said == ["a long line before, longer than all that follows", "from a shell", "after"]
