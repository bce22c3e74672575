"""What the bot's function is called with: Pipecat's own runner arguments, made from the launch."""

from typing import Any

from pipecat.runner.types import DailyRunnerArguments, RunnerArguments, SmallWebRTCRunnerArguments

from services.runner.logs import bot_logs
from services.runner.settings import RunnerSettings
from shared.contract import Launch
from shared.errors import RoomRefused


def plain(launch: Launch) -> RunnerArguments:
    """For a bot that brings its own transport."""
    return RunnerArguments(body=body_of(launch), session_id=launch.session_id)


async def daily(launch: Launch, settings: RunnerSettings) -> DailyRunnerArguments:
    """For a bot in a Daily room, with the launch's token or, with a DAILY_API_KEY, one of its own.

    Raises:
        RoomRefused: Daily gives no token.
    """
    token = launch.token
    if token is None and settings.daily_api_key:
        from services.runner.daily_room import mint_token  # noqa: PLC0415 - who has no Daily does not pay for it

        bot_logs.hide(settings.daily_api_key)
        token = await mint_token(launch, settings)
        bot_logs.hide(token)
    if token is None and launch.owner:
        raise RoomRefused("without DAILY_API_KEY the runner has no token for the room that was made")
    return DailyRunnerArguments(
        room_url=launch.room_url, token=token, body=body_of(launch), session_id=launch.session_id
    )


def webrtc(launch: Launch, connection: Any, request_data: Any) -> SmallWebRTCRunnerArguments:
    """For a bot with a WebRTC client; what the client sent with its offer, if anything, is in the body's place."""
    body = _with_session(request_data, launch) if request_data else body_of(launch)
    return SmallWebRTCRunnerArguments(webrtc_connection=connection, body=body, session_id=launch.session_id)


def body_of(launch: Launch) -> Any:
    """The launch's body; an object tells in `pipefleet` which session and attempt this is."""
    return _with_session({} if launch.body is None else launch.body, launch)


def _with_session(body: Any, launch: Launch) -> Any:
    if not isinstance(body, dict):
        return body
    about = {
        "session_id": launch.session_id,
        "attempt": launch.attempt,
        "labels": launch.labels,
        "previous_reason": launch.failures[-1].reason.value if launch.failures else None,
    }
    return {**body, "pipefleet": about}
