"""What the assistant reads from the environment. Its services' names and defaults are in `providers`."""

import msgspec

from shared.settings import Names, Seconds


class AssistantSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The assistant's settings; a launch may ask for other providers and another voice."""

    stt: str = "auto"
    """Who listens: deepgram, openai, whisper, moonshine, daily, offline; auto: the first with a key, else offline."""
    stt_model: str | None = None
    """The speech recognition's model, if not its service's own choice."""
    stt_base_url: str | None = None
    """An OpenAI-compatible server that listens, in place of OpenAI's."""
    llm: str = "auto"
    """Who thinks: openai, anthropic, google, offline; auto: the first with a key, else offline."""
    llm_model: str | None = None
    """The language model, if not its service's own choice."""
    llm_base_url: str | None = None
    """An OpenAI-compatible server that thinks, in place of OpenAI's; it needs no key unless it asks for one."""
    tts: str = "auto"
    """Who speaks: cartesia, elevenlabs, deepgram, openai, kokoro, piper, offline; auto: the first with a key."""
    tts_model: str | None = None
    """The speech's model, if not its service's own choice."""
    tts_voice: str | None = None
    """The voice, where neither launch nor persona names one."""
    tts_base_url: str | None = None
    """An OpenAI-compatible server that speaks, in place of OpenAI's."""
    openai_api_key: str | None = None
    """The key of OpenAI, or of the server that takes its place."""
    anthropic_api_key: str | None = None
    """The key of Anthropic."""
    google_api_key: str | None = None
    """The key of Google's Gemini."""
    deepgram_api_key: str | None = None
    """The key of Deepgram."""
    cartesia_api_key: str | None = None
    """The key of Cartesia."""
    elevenlabs_api_key: str | None = None
    """The key of ElevenLabs."""
    daily_api_key: str | None = None
    """Also takes a dial-in whose launch brings no key."""
    daily_api_url: str = "https://api.daily.co/v1"
    """Daily's REST API."""
    personas_dir: str | None = None
    """A folder of personas, one TOML or YAML file each."""
    persona: str | None = None
    """The persona of launches that name none."""
    tools: Names = ()
    """Python files with functions that the model may call, separated by commas."""
    mcp_servers: Names = ()
    """MCP servers whose tools the model may call: URLs or command lines, separated by commas."""
    empty_room_timeout_s: Seconds = 15.0
    """How long the assistant stays in a room after the last participant has left."""
    idle_timeout_s: Seconds = 300.0
    """How long it stays while nobody says anything, also when nobody comes; 0: for ever."""

    def hidden(self) -> tuple[str, ...]:
        """The keys: what must not be seen in any log."""
        keys = (getattr(self, field) for field in self.__struct_fields__ if field.endswith("_api_key"))
        return tuple(key for key in keys if key)
