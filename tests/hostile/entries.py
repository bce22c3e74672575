"""Stream entries that nobody of ours would write, as somebody with access to Redis could."""

import random
from collections.abc import Iterator
from typing import Any, TypeAlias

import msgspec

Fields: TypeAlias = dict[bytes, bytes]

DEEP = b"[" * 100_000 + b"]" * 100_000
URLS = (
    "javascript:alert(1)",
    "https://a.daily.co/room\r\nX: y",
    "https://a.daily.co/" + "r" * 100_000,
    "{other}:room:x",
    "}{bot}:launch",
    "../../../etc/passwd",
    "\x00",
    "",
)
WRONG: tuple[Any, ...] = (None, True, -1, 10**30, 1.5, "", "x" * 1000, [], [[]], {}, {"a": {}}, "\u202e<script>")
RAW = (
    b"",
    b"{",
    b"null",
    b"[]",
    b"\xff\xfe\x00",
    b'{"type":"\\ud800"}',
    b'{"type":"\xed\xa0\x80"}',
    b"9" * 5000,
    b'{"v":1e999}',
    DEEP,
    b"x" * 2_000_000,
)


def malformed(message: msgspec.Struct) -> Iterator[Fields]:
    """What can be read as no message at all."""
    yield from ({b"json": raw} for raw in RAW)
    yield from damaged(message)


def damaged(message: msgspec.Struct) -> Iterator[Fields]:
    """A message that something has happened to on its way."""
    whole = msgspec.json.encode(message)
    yield {b"json": whole[:-1]}
    yield {b"json": whole.replace(b'"', b"'")}
    yield {b"json": whole[:-1] + b',"unknown":' + DEEP + b"}"}
    yield {b"json": whole[:-1] + b',"unknown":"\xff"}'}
    yield {b"data": whole}
    yield {b"\xff": b"\xff"}


def odd(message: msgspec.Struct, chance: random.Random, count: int) -> Iterator[Fields]:
    """What is spelt well and says something strange; some of it can be read."""
    whole: dict[str, Any] = msgspec.to_builtins(message)
    for _ in range(count):
        name = chance.choice(sorted(whole))
        yield written({**whole, name: chance.choice(WRONG)})
    yield written({**whole, "v": 99})
    yield written({**whole, "v": "two"})
    yield written({**whole, "extra": "x" * 2_000_000})
    yield {**written(whole), b"second": b"\xff", b"third": b"3"}


def written(values: dict[str, Any]) -> Fields:
    return {b"json": msgspec.json.encode(values)}
