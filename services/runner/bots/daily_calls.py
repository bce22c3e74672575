"""What a launch may ask for in a Daily room: transcription by the room, recording, and telephone calls in and out."""

from typing import Any

from pipecat.transports.daily.transport import (
    DailyDialinSettings,
    DailyParams,
    DailyTranscriptionSettings,
    DailyTransport,
)

from services.runner.bots.assistant_body import AssistantBody
from services.runner.bots.assistant_settings import AssistantSettings
from services.runner.logs import bot_logs
from services.runner.refusal import LaunchRefused
from shared.persona import Persona


def params(settings: AssistantSettings, body: AssistantBody, persona: Persona, *, transcribes: bool) -> DailyParams:
    """How to be in the room, whether it transcribes, and which call that waits is to be taken into it.

    Raises:
        LaunchRefused: there is no key to take the call with, or it should go to somebody else.
    """
    given = DailyParams(audio_in_enabled=True, audio_out_enabled=True)
    if transcribes:
        language = body.language or persona.language or "en"
        given.transcription_enabled = True
        given.transcription_settings = DailyTranscriptionSettings(language=language)
    if body.dialin_settings:
        key = body.daily_api_key or settings.daily_api_key
        if not key:
            raise LaunchRefused(
                "dialin_settings need a daily_api_key, or the variable DAILY_API_KEY, which is not set."
            )
        bot_logs.hide(key)
        if body.daily_api_url and body.daily_api_url.rstrip("/") != settings.daily_api_url.rstrip("/"):
            # The key goes there, and the request is made from where the runner is.
            raise LaunchRefused("daily_api_url must be what DAILY_API_URL is here, if it is given at all.")
        given.dialin_settings = DailyDialinSettings(
            call_id=body.dialin_settings.call_id, call_domain=body.dialin_settings.call_domain
        )
        given.api_key = key
        given.api_url = settings.daily_api_url
    return given


def begin_on_arrival(room: DailyTransport, body: AssistantBody) -> None:
    """Once the bot is in its room, have it recorded and call others, as the launch asks for."""
    asked = body.dialout_settings or []
    calls = asked if isinstance(asked, list) else [asked]

    async def begin(_room: DailyTransport, _data: Any) -> None:
        if body.recording:
            await room.start_recording()
        for settings in calls:
            await room.start_dialout(settings)

    room.add_event_handler("on_joined", begin)
