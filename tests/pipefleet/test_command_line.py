"""The installed command against a gateway, a runner and bots that are really there."""

import asyncio
import json
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from pipefleet.gateway import LONGEST_LIST
from shared.contract import Ended, Failed
from shared.redis.connection import Redis
from tests.conftest import StartFleet
from tests.deployment.dockerfiles import uv
from tests.launching import SCRIPTED, offer, records
from tests.pipefleet.conftest import COMMAND, Pipefleet
from tests.processes import ROOT, Children, Fleet
from tests.waiting import until

KEYS = {"JOIN_KEYS": "key-that-starts", "ADMIN_KEYS": "key-that-may-all"}


def at(fleet: Fleet, pipefleet: Pipefleet) -> Pipefleet:
    """The command, pointed at a fleet."""
    pipefleet.env["PIPEFLEET_URL"] = str(fleet.http.base_url).rstrip("/")
    return pipefleet


async def test_a_session_is_begun_shown_commanded_and_ended_from_a_terminal(
    fleet_of: StartFleet, pipefleet: Pipefleet, tmp_path: Path
) -> None:
    body = tmp_path / "body.json"
    body.write_text('{"do": "stay"}')
    async with fleet_of(bot=SCRIPTED, slots=2, operator=False, BOT_RECORD=str(tmp_path / "record")) as fleet:
        run = at(fleet, pipefleet)
        room = "https://test.daily.co/room"
        stay = ("--transport", "none", "--room", room, "--body", f"@{body}", "--label", "team=a")
        joined = await run("join", *stay, "--token-file", "-", "--wait", "20", "--json", text="the-token\n")
        assert (joined.code, joined.json["status"]) == (0, "running")
        session = joined.json["session_id"]

        listed, shown = await asyncio.gather(run("sessions"), run("show", session))
        assert [line.split()[:3] for line in listed.out.splitlines()[1:]] == [[session, "running", "1"]]
        assert "\x1b" not in listed.out + shown.out
        kinds = [line.split()[3] for line in shown.out.partition("\n\n")[2].splitlines()[1:]]
        assert kinds == ["queued", "starting", "running"]
        assert "the-token" not in shown.out + (await run("show", session, "--json")).out

        said, to_all = await asyncio.gather(
            run("say", session, "Good", "day.", "--wait", "--json"),
            run("admin", "all", "mute", "--label", "team=a", "--wait", "5"),
        )
        assert (said.code, said.json["outcome"], said.json["reason"]) == (1, "unhandled", "no_pipeline")
        assert (to_all.code, to_all.out.splitlines()[1].split()[:2]) == (1, [session, "unhandled"])

        alone = await fleet.join(transport="webrtc", labels={"team": "b"})
        to_b = ("say", "all", "Hello.", "--label", "team=b")
        unheard, told, one = await asyncio.gather(
            run(*to_b, "--wait", "0.2"), run(*to_b), run("say", alone["session_id"], "Hello.", "--wait", "0.2")
        )
        assert (unheard.code, "no answer yet" in unheard.out) == (1, True)
        assert (told.code, told.out.split()[-1]) == (0, "accepted")
        assert (one.code, "no answer yet" in one.out) == (1, True)
        await run("leave", alone["session_id"])
        await fleet.event(alone["session_id"], Ended)

        left = await run("leave", room)
        assert (left.code, left.out) == (0, f"{session} was told to leave\n")
        await fleet.event(session, Ended)
        assert (await run("sessions")).out == "No session lives.\n"
        logged = await run("logs", session, "--json")
        types = [json.loads(line)["type"] for line in logged.out.splitlines()]
        assert types == ["queued", "starting", "running", "command", "command", "leaving", "command", "ended"]


async def test_more_sessions_than_one_answer_holds_are_all_listed(
    children: Children, redis: Redis, pipefleet: Pipefleet
) -> None:
    fleet = Fleet(children, redis, {})
    run = at(fleet, pipefleet)
    await fleet.until_free(0)
    offered = [await offer(redis) for _ in range(LONGEST_LIST + 1)]
    listed = (await run("sessions", "--json")).json["sessions"]
    assert [session["session_id"] for session in listed] == [launch.session_id for launch in offered]
    await fleet.aclose()


async def test_a_launch_that_was_given_up_is_listed_and_redriven(
    fleet_of: StartFleet, pipefleet: Pipefleet, tmp_path: Path
) -> None:
    async with fleet_of(bot=SCRIPTED, slots=1, operator=False, BOT_RECORD=str(tmp_path / "record")) as fleet:
        run = at(fleet, pipefleet)
        failed = await run("join", "--transport", "none", "--body", '{"do": "raise"}', "--wait", "20", "--json")
        assert (failed.code, failed.json["reason"]) == (1, "bot_error")
        letters = (await run("dead", "--json")).json["dead"]
        assert [letter["session_id"] for letter in letters] == [failed.json["session_id"]]
        again = await run("redrive", letters[0]["id"], "--json")
        assert again.code == 0
        await fleet.event(again.json["session_id"], Failed)
        twice = await run("redrive", letters[0]["id"])
        assert (twice.code, twice.out, twice.error) == (1, "", "pipefleet: There is no such dead letter.\n")


async def test_a_drained_runner_ends_its_session_and_takes_no_other(
    fleet_of: StartFleet, pipefleet: Pipefleet, tmp_path: Path
) -> None:
    """SIGTERM comes as well, as when a Pod that drains is deleted: the call is not handed back for that."""
    async with fleet_of(bot=SCRIPTED, slots=2, operator=False, BOT_RECORD=str(tmp_path / "record"), LEASE="2") as fleet:
        run = at(fleet, pipefleet)
        first = await fleet.join(wait_s=20, transport="none", body={"do": "stay"})
        (runner,) = (await run("fleet", "--json")).json["runners"]
        for _ in range(2):  # as often as one likes
            told = await run("drain", runner["runner"], "--json")
            assert (told.code, told.json["busy"]) == (0, 1)

        async def draining() -> bool:
            return bool((await fleet.http.get("/fleet")).json()["runners"][0]["state"] == "draining")

        await until(draining)
        second = await fleet.join(transport="none", body={"do": "return"})
        fleet.runners[0].terminate()
        assert (await fleet.session(first["session_id"]))["status"] == "running"
        await run("leave", first["session_id"])
        assert await fleet.runners[0].wait() == 0
        assert (await fleet.event(first["session_id"], Ended)).reason == "left"
        assert [one.session_id for one in records(tmp_path / "record") if one.what == "entered"] == [
            first["session_id"]
        ]
        assert (await fleet.session(second["session_id"]))["status"] == "queued"
        gone = await run("drain", runner["runner"])
        assert (gone.code, gone.error) == (1, "pipefleet: There is no such runner.\n")
        fleet.runners.clear()
        fleet.add_runner()
        await fleet.event(second["session_id"], Ended)


async def test_keys_come_from_the_environment_or_a_file_and_refusals_are_the_gateways_own(
    children: Children, redis: Redis, pipefleet: Pipefleet, tmp_path: Path
) -> None:
    fleet = Fleet(children, redis, KEYS)
    run = at(fleet, pipefleet)
    fleet.http.headers["Authorization"] = f"Bearer {KEYS['ADMIN_KEYS']}"
    await fleet.until_free(0)
    assert "A key is needed" in (await run("fleet")).error
    weaker = await run("fleet", PIPEFLEET_KEY=KEYS["JOIN_KEYS"])
    assert (weaker.code, weaker.error) == (1, "pipefleet: This key may start sessions only.\n")
    file = tmp_path / "key"
    file.write_text(KEYS["ADMIN_KEYS"] + "\n")
    assert (await run("fleet", "--key-file", str(file), PIPEFLEET_KEY="another")).code == 0
    assert (await run("fleet", "--key-file", "-", text=KEYS["ADMIN_KEYS"])).code == 0
    linked = (await run("join", "--json", PIPEFLEET_KEY=KEYS["JOIN_KEYS"])).json
    assert linked["client_url"] == f"{run.env['PIPEFLEET_URL']}/client/?session={linked['session_id']}"
    started = await fleet.http.post("/start", params={"session": linked["session_id"]}, json={})
    assert started.json() == {"sessionId": linked["session_id"]}
    live = (await fleet.http.get("/sessions")).json()["sessions"]
    assert [one["session_id"] for one in live] == [linked["session_id"]]
    await fleet.aclose()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["fleet"], 3, "pipefleet: No gateway answers at http://127.0.0.1:1: Connection refused\n"),
        (["logs", "--follow"], 3, "pipefleet: No gateway answers at http://127.0.0.1:1: Connection refused\n"),
        (["sessions", "--watch"], 3, "pipefleet: No gateway answers at http://127.0.0.1:1: Connection refused\n"),
        (["nothing"], 2, "invalid choice: 'nothing'"),
        (["join", "--key", "secret"], 2, "unrecognized arguments: --key"),
        (["join", "--wait"], 2, "--wait is for a room: here somebody must first open the link"),
        (["join", "--body", "{"], 2, "pipefleet: this is not JSON"),
        (["join", "--label", "team"], 2, "--label: expected name=value, got 'team'"),
        (["join", "--token-file", "/nonexistent"], 2, "pipefleet: /nonexistent cannot be read"),
        (["say", "one", "hello", "--label", "a=b"], 2, "--label chooses among all sessions"),
        (["logs", "--since", "yesterday"], 2, "a time is such as 90s, 10m, 2h or 1d"),
        (["fleet", "--url", "127.0.0.1:4444"], 2, "begins with http:// or https://, and '127.0.0.1:4444' does not"),
        (["fleet", "--key-file", "/none"], 2, "pipefleet: /none cannot be read: No such file or directory\n"),
        (["doctor", "front"], 2, "there is no 'front'; there are gateway, operator, runner\n"),
        (["show", ""], 2, "argument SESSION: it is empty\n"),
        (["logs", ""], 2, "argument SESSION: it is empty\n"),
        (["redrive", "1-1", ""], 2, "argument ID: it is empty\n"),
        (["show", "\udcff"], 2, "argument SESSION: it is no text in UTF-8\n"),
        (["sessions", "--agent", "\udcff"], 2, "argument --agent: it is no text in UTF-8\n"),
        (["join", "--room", "x://a", "--wait", "inf"], 2, "argument --wait: expected seconds, got 'inf'\n"),
        (["say", "all", "hello", "--wait", "1e12"], 2, "argument --wait: expected at most 60 seconds, got 1e12\n"),
        (["join", "--deadline", "nan"], 2, "argument --deadline: expected seconds, got 'nan'\n"),
        (["join", "--body", "[" * 30_000], 2, "pipefleet: this is not JSON: maximum recursion depth exceeded"),
        (["fleet", "--url", "http://[::1"], 2, "begins with http:// or https://, and 'http://[::1' does not"),
    ],
)
async def test_what_cannot_be_done_is_said_once_with_its_exit_code(
    pipefleet: Pipefleet, arguments: list[str], code: int, says: str
) -> None:
    result = await pipefleet(*arguments, PIPEFLEET_URL="http://127.0.0.1:1")
    assert (result.code, result.out, result.error.count(says)) == (code, "", 1), result.error
    assert "Traceback" not in result.error


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("<p>\n\n</p>", "it does not speak JSON"),
        ("", "it does not speak JSON"),
        ("[" * 100_000, "it does not speak JSON"),
        ("[]", "it speaks of something else"),
    ],
)
async def test_of_what_is_no_gateway_one_sentence_says_so(pipefleet: Pipefleet, body: str, complaint: str) -> None:
    """A proxy's page in its place was a traceback."""
    answer = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer.encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for arguments, why in ((("dead",), complaint), (("logs",), "it does not send events")):
            result = await pipefleet(*arguments, "--url", url)
            sentence = f"pipefleet: What answers at {url} is no gateway: {why}.\n"
            assert (result.code, result.out, result.error) == (1, "", sentence)


async def test_a_log_that_is_not_followed_ends_when_its_gateway_does(pipefleet: Pipefleet) -> None:
    """It waited for the gateway for ever, and what had called it waited, too."""
    head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream\r\n\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        if b"last-event-id" in asked.lower():
            server.close()  # it answers nobody after this one
        writer.write(f"{head}retry: 10\nid: 1-0_1-0\n:\n\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        result = await pipefleet("logs", "--url", url)
    assert (result.code, result.error) == (3, f"pipefleet: No gateway answers at {url}: Connection refused\n")


async def test_a_gateway_that_says_not_now_does_not_end_what_looks_on(
    children: Children, redis: Redis, pipefleet: Pipefleet
) -> None:
    """Two requests at once are those that `sessions --watch` begins with; the next one is refused for two seconds."""
    fleet = Fleet(children, redis, {"REQUEST_RATE": "0.5,2"})
    run = at(fleet, pipefleet)
    await until(lambda: _serves(fleet))
    watching = run.start("sessions", "--watch", "--json")
    await watching.said('"sessions": []')
    session = (await offer(redis)).session_id
    await watching.said(session)
    watching.signal(signal.SIGINT)
    assert await watching.wait() == 130
    await fleet.aclose()


async def _serves(fleet: Fleet) -> bool:
    with suppress(httpx.TransportError):
        return (await fleet.http.get("/readyz")).status_code == 200
    return False


async def test_the_fleets_picture_is_a_line_of_the_log(children: Children, redis: Redis, pipefleet: Pipefleet) -> None:
    fleet = Fleet(children, redis, {})
    run = at(fleet, pipefleet)
    await fleet.until_free(0)
    following = run.start("logs", "--follow", "--types", "fleet")
    await following.said("fleet              slots=0 busy=0")
    following.signal(signal.SIGINT)
    assert await following.wait() == 130
    await fleet.aclose()


async def test_the_log_goes_on_across_a_gateway_that_is_killed_and_tells_nothing_twice(
    fleet_of: StartFleet, pipefleet: Pipefleet, tmp_path: Path
) -> None:
    async with fleet_of(bot=SCRIPTED, slots=2, operator=False, BOT_RECORD=str(tmp_path / "record")) as fleet:
        run = at(fleet, pipefleet)
        first = await fleet.join(wait_s=20, transport="none")
        await fleet.event(first["session_id"], Ended)
        following = run.start("logs", "--follow", "--json", "--since", "1h")
        watching = run.start("sessions", "--watch", "--json")
        await following.said("ended")
        await watching.said('"sessions": []')
        fleet.gateway.kill()
        await fleet.gateway.wait()
        second = (await offer(fleet.redis, body={"do": "stay"})).session_id
        fleet.gateway = fleet.start("gateway")
        await asyncio.gather(following.said(second), watching.said(second))
        await fleet.until_status(second, "running")
        await following.said('"running", "at": "' + (await fleet.session(second))["timeline"][-1]["at"])
        lines = [json.loads(line) for line in following.output().splitlines()]
        happened = [
            (one, event["type"], event["at"])
            for one in (first["session_id"], second)
            for event in (await fleet.session(one))["timeline"]
        ]
        assert [(line["session_id"], line["type"], line["at"]) for line in lines] == happened
        for child in (following, watching):
            child.signal(signal.SIGINT)
            assert await child.wait() == 130
            assert child.traces() == []
        whole = await run("logs", "--json", "--since", "9" * 400)
        assert [json.loads(line) for line in whole.out.splitlines()] == lines
        nothing_new = await run("logs", "--since", "0s")
        assert (nothing_new.code, nothing_new.out, nothing_new.error) == (0, "", "")


async def test_a_reader_that_has_seen_enough_ends_it_without_a_word(fleet_of: StartFleet, pipefleet: Pipefleet) -> None:
    async with fleet_of(bot=SCRIPTED, runners=0, operator=False) as fleet:
        await fleet.until_free(0)
        run = at(fleet, pipefleet)
        script = f"{COMMAND} fleet --json | true; echo ${{PIPESTATUS[0]}}"
        result = await asyncio.to_thread(
            subprocess.run, ["bash", "-c", script], env=run.env, capture_output=True, text=True, check=False
        )
        assert result.stderr == ""
        assert result.stdout.strip() in {"0", str(128 + signal.SIGPIPE)}


@pytest.mark.slow
def test_the_command_is_installed_alone_without_any_other_package(tmp_path: Path) -> None:
    subprocess.run([uv(), "venv", "-q", "-p", sys.executable, str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv/bin/python")
    subprocess.run([uv(), "pip", "install", "-q", "-p", python, str(ROOT / "pipefleet")], check=True)
    listed = subprocess.run([uv(), "pip", "list", "-p", python], check=True, capture_output=True, text=True)
    assert [line.split()[0] for line in listed.stdout.splitlines()[2:]] == ["pipefleet-cli"]
    command = [str(tmp_path / "venv/bin/pipefleet"), "doctor", "--json", "--url", "http://127.0.0.1:1"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert [(one["check"], one["status"]) for one in json.loads(result.stdout)["findings"]] == [
        ("gateway", "fail"),
        ("here", "warn"),
    ]
