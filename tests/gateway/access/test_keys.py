"""Keys as the settings have them: in clear or hashed, with or without a last day."""

from datetime import UTC, datetime
from hashlib import sha256

import pytest

from services.gateway.access import keys
from services.gateway.settings import GatewaySettings
from shared.errors import SettingsError
from shared.settings import load

LONG = "5f0c8f2b9a6e4d11a7c3"
HASHED = "sha256:" + sha256(LONG.encode()).hexdigest()
ANYWHERE = {"GATEWAY_HOST": "0.0.0.0"}  # noqa: S104 - that is the point


def moment(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


NOW = moment("2026-06-30")


@pytest.mark.parametrize("text", [LONG, HASHED, HASHED.upper().replace("SHA256", "sha256"), f"{LONG}@2026-12-31"])
def test_a_key_is_known_however_the_settings_have_it(text: str) -> None:
    others = [keys.parse("another one"), keys.parse(text), keys.parse("a third")]
    assert keys.known(LONG.encode(), others, NOW) is others[1]
    assert keys.known(LONG[:-1].encode(), others, NOW) is None
    assert keys.known(b"", others, NOW) is None


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_key_that_stands_there_twice_is_good_for_as_long_as_one_of_them_is(order: tuple[int, int]) -> None:
    both = [keys.parse(LONG), keys.parse(f"{LONG}@2025-12-31")]
    listed = [both[place] for place in order]
    assert keys.known(LONG.encode(), listed, NOW) is both[0]
    assert keys.known(LONG.encode(), listed, moment("2025-12-31")) is listed[1]


def test_what_stands_in_the_settings_is_no_key_where_it_is_a_hash() -> None:
    assert keys.known(HASHED.encode(), [keys.parse(HASHED)], NOW) is None
    assert keys.known(HASHED.removeprefix("sha256:").encode(), [keys.parse(HASHED)], NOW) is None


@pytest.mark.parametrize("text", [LONG, HASHED])
def test_a_key_is_good_to_the_end_of_its_last_day(text: str) -> None:
    key = keys.parse(f"{text}@2026-12-31")
    assert not key.expired(moment("2026-12-31T23:59:59"))
    assert key.expired(moment("2027-01-01T00:00:00"))
    assert not keys.parse(text).expired(moment("9999-01-01T00:00:00"))


def test_an_at_sign_without_a_day_is_part_of_the_key() -> None:
    assert keys.known(b"me@example", [keys.parse("me@example")], NOW)
    assert keys.known(b"me@example", [keys.parse("me@example@2026-12-31")], NOW)


def test_a_fingerprint_is_the_same_for_a_key_and_its_hash_and_a_key_is_not_in_its_repr() -> None:
    key = keys.parse(LONG)
    assert key.fingerprint == keys.parse(f"{HASHED}@2026-12-31").fingerprint
    assert key.digest.hex() not in repr(key)
    assert LONG not in repr(key)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (",", "expected values separated by commas"),
        (" , ,", "expected values separated by commas"),
        ("sha256:", "key 1: expected 64 hexadecimal digits after sha256:"),
        (f"{LONG},{HASHED[:-1]}", "key 2: expected 64 hexadecimal digits after sha256:"),
        (f"{LONG},{LONG}@2026-02-30", "key 2: 2026-02-30 is no day"),
    ],
)
@pytest.mark.parametrize("variable", ["JOIN_KEYS", "ADMIN_KEYS"])
@pytest.mark.parametrize("host", [{}, ANYWHERE])
def test_a_value_that_holds_no_key_ends_the_start(
    host: dict[str, str], variable: str, text: str, complaint: str
) -> None:
    """A comma alone counted as no key, and so opened the gateway to this whole machine."""
    with pytest.raises(SettingsError) as raised:
        load(GatewaySettings, {**host, variable: text})
    assert f"{variable}: {complaint}" in str(raised.value)
    assert LONG not in str(raised.value)
    assert HASHED[10:-1] not in str(raised.value)


@pytest.mark.parametrize("text", ["secret", "x" * 19, f"{LONG},secret", "secret@2026-12-31"])
def test_a_key_that_could_be_guessed_is_refused_where_others_can_try(text: str) -> None:
    with pytest.raises(SettingsError, match=r"ADMIN_KEYS: key \d: expected at least 20 random characters") as raised:
        load(GatewaySettings, {**ANYWHERE, "ADMIN_KEYS": text})
    assert "secret" not in str(raised.value)
    assert load(GatewaySettings, {"ADMIN_KEYS": text}).admin_keys
    assert load(GatewaySettings, {**ANYWHERE, "ADMIN_KEYS": f"{LONG}, {HASHED}@2026-12-31"}).admin_keys
