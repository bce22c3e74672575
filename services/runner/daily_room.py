"""A bot's place in a Daily room: its own token, and a second fence in the room itself.

A token that is minted here names session and attempt in its `user_id`. So a bot that sees a later attempt of its own
session join knows that it has been replaced, whatever kept it from hearing of it, and leaves at once. A token that came
with the launch is used as it is, and has no such fence.
"""

import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.transports.daily.transport import DailyInputTransport
from pipecat.transports.daily.utils import DailyMeetingTokenParams, DailyMeetingTokenProperties, DailyRESTHelper

from services.runner.call.processors import all_of
from services.runner.settings import RunnerSettings
from shared.contract import Launch
from shared.errors import RoomRefused

TOKEN_WITHIN_S = 10.0
OUTLASTS_S = 300.0
"""How much longer than its session a token is good for."""

_SEAT = re.compile(r"([0-9a-f]{32})\.([0-9]{1,3})")


def seat(session_id: str, attempt: int) -> str:
    """The `user_id` of a session's bot, within the 36 characters that Daily allows."""
    return f"{uuid.UUID(session_id).hex}.{attempt}"


def replaces(user_id: str, session_id: str, attempt: int) -> bool:
    """Whether this participant is a later attempt of the same session."""
    found = _SEAT.fullmatch(user_id)
    return found is not None and found[1] == uuid.UUID(session_id).hex and int(found[2]) > attempt


async def mint_token(launch: Launch, settings: RunnerSettings) -> str:
    """A token for the launch's bot from Daily's REST API, which needs DAILY_API_KEY.

    Raises:
        RoomRefused: Daily refuses, or does not answer.
    """
    who = DailyMeetingTokenProperties(user_id=seat(launch.session_id, launch.attempt))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TOKEN_WITHIN_S)) as http:
        api = DailyRESTHelper(
            daily_api_key=settings.daily_api_key or "", daily_api_url=settings.daily_api_url, aiohttp_session=http
        )
        try:
            return await api.get_token(
                launch.room_url,
                expiry_time=launch.max_duration_s + OUTLASTS_S,
                eject_at_token_exp=True,
                owner=launch.owner,
                params=DailyMeetingTokenParams(properties=who),
            )
        except Exception as error:
            raise RoomRefused(f"no token for the bot from Daily: {error}") from error


def watch(pipeline: FrameProcessor, joined: Callable[[str], Awaitable[None]]) -> None:
    """Call `joined` with the `user_id` of everyone who joins a Daily room of this pipeline."""

    async def on_participant_joined(_: Any, participant: Mapping[str, Any]) -> None:
        await joined(str(participant.get("info", {}).get("userId") or ""))

    for transport in (found for found in all_of(pipeline) if isinstance(found, DailyInputTransport)):
        # Pipecat shows a pipeline's transport to nobody but the transport's own processors.
        transport._transport.add_event_handler("on_participant_joined", on_participant_joined)  # noqa: SLF001
