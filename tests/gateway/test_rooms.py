import pytest

from shared.rooms import BadRoom, canonical, daily

ONE_ROOM = "https://example.daily.co/Room"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.daily.co/Room",
        "HTTPS://Example.Daily.CO/Room",
        "https://example.daily.co:443/Room",
        "https://example.daily.co./Room",
        "https://example.daily.co/Room/",
        "https://example.daily.co/Room///",
        "https://example.daily.co//Room",
        "https://example.daily.co/./Room",
        "https://example.daily.co/%52oom",
        "https://example.daily.co/Room?t=token",
        "https://example.daily.co/Room#top",
        "https://example.daily.co/Room/?a=b#c",
    ],
)
def test_every_spelling_of_a_room_is_the_one_room(url: str) -> None:
    assert canonical(url) == ONE_ROOM


@pytest.mark.parametrize(
    ("url", "room"),
    [
        ("https://example.daily.co/room", "https://example.daily.co/room"),
        ("http://example.daily.co/Room", "http://example.daily.co/Room"),
        ("https://example.daily.co:8443/Room", "https://example.daily.co:8443/Room"),
        ("https://example.daily.co/Room%2Ftwo", "https://example.daily.co/Room%2Ftwo"),
        ("https://example.daily.co/a%c3%a4", "https://example.daily.co/a%C3%A4"),
        ("http://[::1]:80/x", "http://[::1]/x"),
        ("webrtc://A-B-C", "webrtc://a-b-c"),
        ("https://bücher.example/x", "https://xn--bcher-kva.example/x"),
    ],
)
def test_what_makes_another_room_is_kept(url: str, room: str) -> None:
    assert canonical(url) == room
    assert room == ONE_ROOM or canonical(url) != ONE_ROOM


@pytest.mark.parametrize("url", [ONE_ROOM, "webrtc://4f0c", "http://[::1]:8080/a/b", "https://x.example/%E4%20"])
def test_a_canonical_url_stays_as_it_is(url: str) -> None:
    assert canonical(canonical(url)) == canonical(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "room",
        "/room",
        "https:///room",
        "https://user@example.daily.co/room",
        "https://user:secret@example.daily.co/room",
        "https://@example.daily.co/room",
        "https://example.daily.co:99999/room",
        "https://example.daily.co:x/room",
        "https://evil.example\\.daily.co/room",
        "https://evil.example%2f.daily.co/room",
        "https://exam ple.daily.co/room",
        "https://example.daily.co/ro\nom",
        "https://example.daily.co/a/../room",
        "https://[::1/room",
        "https://-.daily.co/room",
        "https://example.daily.co/" + "x" * 2048,
    ],
)
def test_what_is_no_room_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(BadRoom) as refused:
        canonical(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://example.daily.co/room", "https"),
        ("https://example.com/room", "ROOM_HOSTS"),
        ("https://daily.co/room", "ROOM_HOSTS"),
        ("https://evil.example/.daily.co", "ROOM_HOSTS"),
        ("https://daily.co.evil.example/room", "ROOM_HOSTS"),
        # It leads to that address, whatever its zone is called; and it was let pass.
        ("https://[2001:db8::1%25.daily.co]/room", "zone"),
        ("https://example.daily.co/", "name a room"),
        ("https://example.daily.co", "name a room"),
    ],
)
def test_a_daily_room_must_be_https_on_an_allowed_host_and_have_a_name(url: str, complaint: str) -> None:
    with pytest.raises(BadRoom, match=complaint):
        daily(url, ["*.daily.co"])


def test_a_host_pattern_may_name_one_host_in_any_case() -> None:
    assert daily("https://rooms.example/a", ["*.daily.co", "Rooms.Example"]) == "https://rooms.example/a"
