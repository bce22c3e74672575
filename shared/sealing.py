"""What is for the bot alone, sealed while it is in Redis: the token and body of a launch, and what commands say.

With PAYLOAD_KEYS who reads the streams, a disk or a backup finds which bot was in which room and when, but neither what
opens the room nor what the bot was told. (Events are not sealed; EVENTS_TRANSCRIPTS puts speech into them.) A sealed
text is bound to its session, and to being a launch or a command: in any other entry it does not open. But who writes to
Redis can put an entry there that is not sealed. AES-256-GCM; NIST SP 800-38D allows 2^32 texts of one key with random
nonces.

    <first 8 hexadecimal digits of the key's SHA-256>.<base64 of nonce and ciphertext>
"""

import base64
import binascii
import hashlib
import os
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from shared.contract import AnyCommand, Interrupt, Launch, Leave, Mute, Sealed, Unmute
from shared.errors import BadEntry

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

Purpose: TypeAlias = Literal["launch", "command"]

KEY_BYTES = 32
NONCE_BYTES = 12


def parse(keys: str) -> dict[str, bytes]:
    """Keys by their names in sealed texts, the one that seals first.

    Raises:
        ValueError: one is not 32 bytes in base64, or there is none; the text does not show it.
    """
    found: dict[str, bytes] = {}
    for number, text in enumerate(filter(None, map(str.strip, keys.split(","))), 1):
        try:
            key = base64.b64decode(text, validate=True)
        except binascii.Error:
            key = b""
        if len(key) != KEY_BYTES:
            raise ValueError(f"key {number} is not {KEY_BYTES} bytes in base64, as of `openssl rand -base64 32`")
        found[hashlib.sha256(key).hexdigest()[:8]] = key
    if keys and not found:
        raise ValueError("there is no key in it, and nothing would be sealed")
    return found


class _Payload(msgspec.Struct, frozen=True):
    """What is sealed of a launch."""

    token: str | None
    body: Any


class Seals:
    """The keys of a fleet. Without any, nothing is sealed."""

    def __init__(self, keys: str = "") -> None:
        self._keys: dict[str, AESGCM] = {}
        if keys:
            from cryptography.hazmat.primitives.ciphers import aead  # noqa: PLC0415 - only who has keys pays for it

            self._keys = {name: aead.AESGCM(key) for name, key in parse(keys).items()}

    def closed(self, launch: Launch) -> Launch:
        """The launch as it goes into a stream; one that is sealed already stays as it is."""
        if not self._keys or launch.sealed:
            return launch
        payload = msgspec.json.encode(_Payload(launch.token, launch.body))
        return msgspec.structs.replace(
            launch, token=None, body=None, sealed=self._seal(payload, "launch", launch.session_id)
        )

    def opened(self, launch: Launch) -> Launch:
        """The launch as the bot gets it.

        Raises:
            BadEntry: it was sealed with a key that is not here, or for something else, or by a version that is too new.
        """
        if not launch.sealed:
            return launch
        try:
            payload = _payload.decode(self._open(launch.sealed, "launch", launch.session_id))
        except msgspec.DecodeError as error:
            raise BadEntry(f"not a readable launch: {type(error).__name__}") from None
        return msgspec.structs.replace(launch, token=payload.token, body=payload.body, sealed="")

    def closed_command(self, session_id: str, command: AnyCommand) -> AnyCommand | Sealed:
        """The command as it goes into a stream. What says no more than its kind stays as it is, a leave above all."""
        if not self._keys or isinstance(command, Leave | Interrupt | Mute | Unmute):
            return command
        return Sealed(
            command_id=command.command_id,
            reply_to=command.reply_to,
            expires_s=command.expires_s,
            kind=str(command.__struct_config__.tag),
            sealed=self._seal(msgspec.json.encode(command), "command", session_id),
        )

    def opened_command(self, session_id: str, command: AnyCommand | Sealed) -> AnyCommand:
        """The command as the bot gets it.

        Raises:
            BadEntry: as with a launch, or it is none that this version can read.
        """
        if not isinstance(command, Sealed):
            return command
        try:
            opened: AnyCommand = _command.decode(self._open(command.sealed, "command", session_id))
        except msgspec.DecodeError as error:
            raise BadEntry(f"not a readable command: {type(error).__name__}") from None
        return opened

    def _seal(self, plain: bytes, purpose: Purpose, session_id: str) -> str:
        name, key = next(iter(self._keys.items()))
        nonce = os.urandom(NONCE_BYTES)
        text = nonce + key.encrypt(nonce, plain, _bound(purpose, session_id))
        return f"{name}.{base64.b64encode(text).decode()}"

    def _open(self, sealed: str, purpose: Purpose, session_id: str) -> bytes:
        name, _, text = sealed.partition(".")
        key = self._keys.get(name)
        if key is None:
            raise BadEntry(f"sealed with the key {name[:8]}, which PAYLOAD_KEYS does not have")
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415

        try:
            raw = base64.b64decode(text, validate=True)
            return key.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], _bound(purpose, session_id))
        except (InvalidTag, ValueError):
            raise BadEntry("sealed for something else, or changed since") from None


def _bound(purpose: Purpose, session_id: str) -> bytes:
    return f"{purpose} {session_id}".encode()


_payload = msgspec.json.Decoder(_Payload)
_command = msgspec.json.Decoder[AnyCommand](AnyCommand)

UNSEALED = Seals()
