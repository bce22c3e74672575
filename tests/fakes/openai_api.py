"""A server that speaks OpenAI's HTTP API, as far as voice bots use it: chat, speech and transcription.

What it says is scripted. `OPENAI_BASE_URL` leads any OpenAI client here.
"""

import asyncio
import json
import math
from array import array
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from aiohttp import web

SPEECH_RATE_HZ = 24_000
SPEECH_S_PER_LETTER = 0.04


@dataclass(frozen=True)
class Say:
    """The model's answer in words; `after_s` is how long it thinks first."""

    text: str
    after_s: float = 0.0


@dataclass(frozen=True)
class Call:
    """The model wants this function called."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fail:
    """The request is refused."""

    status: int
    message: str


Answer: TypeAlias = Say | Call | Fail


@dataclass
class FakeOpenAI:
    """The service: what it is going to say, and what it was asked."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    """What the model answers, in order; after that it repeats what was said last, in `You said: …`."""
    heard: list[str] = field(default_factory=list)
    """What transcriptions give, in order; after that `Hello.`"""
    chats: list[dict[str, Any]] = field(default_factory=list)
    """The body of every request for chat completions."""
    spoken: list[str] = field(default_factory=list)
    """Every text that was to be spoken."""
    speeches: list[dict[str, Any]] = field(default_factory=list)
    """The body of every request for speech."""
    transcribed: list[int] = field(default_factory=list)
    """The size of every sound that was to be transcribed, in bytes."""
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until(self, condition: Callable[[], bool], within_s: float = 15.0) -> None:
        """Returns when it is so; every request is an occasion to look."""
        async with asyncio.timeout(within_s), self._changed:
            await self._changed.wait_for(condition)

    async def until_spoken(self, text: str) -> None:
        """Returns when this was to be spoken, as a part of something or whole."""
        await self.until(lambda: text in " ".join(self.spoken))

    async def _note(self, where: list[Any], what: Any) -> None:
        async with self._changed:
            where.append(what)
            self._changed.notify_all()

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """`POST /chat/completions`."""
        body = await request.json()
        answer = self.answers.pop(0) if self.answers else Say(f"You said: {_last_words(body['messages'])}")
        await self._note(self.chats, body)
        if isinstance(answer, Fail):
            error = {"message": answer.message, "type": "invalid_request_error", "param": None, "code": None}
            return web.json_response({"error": error}, status=answer.status)
        if isinstance(answer, Say) and answer.after_s:
            await asyncio.sleep(answer.after_s)
        if not body.get("stream"):
            return web.json_response(_completion(answer, body))
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        for chunk in _chunks(answer, body):
            await stream.write(f"data: {json.dumps(chunk)}\n\n".encode())
        await stream.write(b"data: [DONE]\n\n")
        return stream

    async def speech(self, request: web.Request) -> web.Response:
        """`POST /audio/speech`: a hum, as long as the text takes to say."""
        body = await request.json()
        text = str(body["input"])
        self.speeches.append(body)
        await self._note(self.spoken, text)
        samples = int(SPEECH_RATE_HZ * max(0.4, SPEECH_S_PER_LETTER * len(text)))
        turn = 2 * math.pi * 220 / SPEECH_RATE_HZ
        hum = array("h", (int(8000 * math.sin(turn * place)) for place in range(samples)))
        return web.Response(body=hum.tobytes(), content_type="audio/pcm")

    async def transcription(self, request: web.Request) -> web.Response:
        """`POST /audio/transcriptions`."""
        sound: Any = (await request.post())["file"]
        await self._note(self.transcribed, len(sound.file.read()))
        return web.json_response({"text": self.heard.pop(0) if self.heard else "Hello."})


def _last_words(messages: list[dict[str, Any]]) -> str:
    return str(messages[-1].get("content", "")) if messages else ""


def _tool_call(call: Call) -> dict[str, Any]:
    function = {"name": call.name, "arguments": json.dumps(call.arguments)}
    return {"id": "call_1", "type": "function", "function": function}


def _completion(answer: Say | Call, body: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None}
    if isinstance(answer, Say):
        message["content"], reason = answer.text, "stop"
    else:
        message["tool_calls"], reason = [_tool_call(answer)], "tool_calls"
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return {**_envelope("chat.completion", body), "choices": [choice], "usage": _USAGE}


def _chunks(answer: Say | Call, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    envelope = _envelope("chat.completion.chunk", body)

    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        return {**envelope, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    yield chunk({"role": "assistant", "content": ""})
    if isinstance(answer, Say):
        for word in answer.text.split(" "):
            yield chunk({"content": f"{word} "})
        yield chunk({}, "stop")
    else:
        yield chunk({"tool_calls": [{"index": 0, **_tool_call(answer)}]})
        yield chunk({}, "tool_calls")
    if (body.get("stream_options") or {}).get("include_usage"):
        yield {**envelope, "choices": [], "usage": _USAGE}


_USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def _envelope(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1_700_000_000, "model": body.get("model", "fake")}


@asynccontextmanager
async def fake_openai() -> AsyncIterator[FakeOpenAI]:
    """The service, at a port of its own."""
    service = FakeOpenAI()
    application = web.Application(client_max_size=64 * 1024 * 1024)
    application.router.add_post("/v1/chat/completions", service.chat)
    application.router.add_post("/v1/audio/speech", service.speech)
    application.router.add_post("/v1/audio/transcriptions", service.transcription)
    server = web.AppRunner(application)
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0).start()
    service.url = f"http://127.0.0.1:{server.addresses[0][1]}/v1"
    try:
        yield service
    finally:
        await server.cleanup()
