"""A call in which bot and client cannot reach each other, through a real TURN server."""

import re
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from aiortc import RTCIceServer

from shared.contract import Running
from tests.conftest import StartFleet
from tests.machine import need
from tests.processes import ROOT, Child, Children, Fleet, free_port
from tests.test_client_page import a_talker, calling
from tests.webrtc_peer import SignalOffer, WebRTCPeer

ASSISTANT = "services.runner.bots.assistant"
SECRET = "known to coturn too"
ASKS = {"transport": "webrtc", "enableDefaultIceServers": True}
RELAY_ONLY = """
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(given) { super({ ...given, iceTransportPolicy: "relay" }); }
};
"""
CANDIDATE = re.compile(r"^a=candidate:.* typ (\w+).*\r\n", re.MULTILINE)


def relay_ports(count: int) -> tuple[int, int]:
    """A range of UDP ports that were free just now."""
    while True:
        with ExitStack() as held:
            try:
                first = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                first.bind(("127.0.0.1", 0))
                lowest: int = first.getsockname()[1]
                for port in range(lowest + 1, lowest + count):
                    held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).bind(("127.0.0.1", port))
            except (OSError, OverflowError):
                continue
            return lowest, lowest + count - 1


async def start_coturn(children: Children, folder: Path) -> tuple[Child, str]:
    """A server with the options of `compose.yaml`, on loopback, and its URL."""
    options: list[str] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["coturn"]["command"]
    port = free_port()
    lowest, highest = relay_ports(16)
    here = {
        "--listening-port": str(port),
        "--min-port": str(lowest),
        "--max-port": str(highest),
        "--static-auth-secret": SECRET,
    }
    command = [f"{name}={here[name]}" if (name := option.partition("=")[0]) in here else option for option in options]
    loopback = ["--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--allow-loopback-peers"]
    files = ["-n", f"--pidfile={folder / 'coturn.pid'}", f"--userdb={folder / 'coturn.db'}", "--verbose"]
    child = children.start("coturn", [need("turnserver"), *command, *loopback, *files])
    await child.said("UDP listener opened")
    return child, f"turn:127.0.0.1:{port}"


def only_relayed(sdp: str) -> str:
    """Without the addresses that lead past the TURN server."""
    return CANDIDATE.sub(lambda line: line[0] if line[1] == "relay" else "", sdp)


async def started(fleet: Fleet) -> tuple[str, RTCIceServer, SignalOffer]:
    """A session's id, the TURN server that its client is told of, and the way of its offer."""
    session = (await fleet.http.post("/start", json=ASKS)).json()
    (server,) = session["iceConfig"]["iceServers"]

    async def signal(offer: Mapping[str, str]) -> Mapping[str, str]:
        answer = await fleet.http.post(f"/sessions/{session['sessionId']}/api/offer", json=dict(offer))
        assert answer.status_code == 200, answer.text
        told: dict[str, str] = answer.json()
        return told

    return session["sessionId"], RTCIceServer(**server), signal


async def test_a_call_goes_through_the_turn_server_alone_and_is_heard(
    children: Children, fleet_of: StartFleet, tmp_path: Path
) -> None:
    coturn, url = await start_coturn(children, tmp_path)
    kinds: list[str] = []
    async with fleet_of(bot=ASSISTANT, slots=1, ICE_SERVERS=url, TURN_SECRET=SECRET) as fleet:
        session_id, turn, signal = await started(fleet)

        async def signal_relayed(offer: Mapping[str, str]) -> Mapping[str, str]:
            answer = await signal(offer)
            kinds.extend(CANDIDATE.findall(answer["sdp"]))
            return {**answer, "sdp": only_relayed(answer["sdp"])}

        async with WebRTCPeer(signal_relayed, turn) as peer:
            await peer.wait_for_sound()
            await fleet.event(session_id, Running)
        told = "".join(child.output() for child in children.started if child is not coturn)
    assert {"host", "relay"} <= set(kinds)
    let_in = re.findall(rf"user <\d+:{session_id}>: .*ALLOCATE processed, success", coturn.output())
    assert len(let_in) >= 2, "bot and client"
    assert turn.credential
    assert SECRET not in told
    assert turn.credential not in told


@pytest.mark.slow
async def test_the_page_in_a_browser_that_may_use_nothing_else_talks_through_the_turn_server(
    children: Children, fleet_of: StartFleet, tmp_path: Path
) -> None:
    _, url = await start_coturn(children, tmp_path)
    variables = {"ICE_SERVERS": url, "TURN_SECRET": SECRET}
    async with fleet_of(bot=ASSISTANT, slots=1, **variables) as fleet, calling(fleet, a_talker(tmp_path)) as caller:
        await caller.page.add_init_script(RELAY_ONLY)
        await caller.page.reload()
        await caller.until_ready()
        await caller.connect()
        await caller.hears_sound()
        await caller.is_heard()
        await caller.disconnect()
        assert caller.problems == []


async def test_a_bot_that_its_turn_server_refuses_is_reached_directly(
    children: Children, fleet_of: StartFleet, tmp_path: Path
) -> None:
    coturn, url = await start_coturn(children, tmp_path)
    async with fleet_of(bot=ASSISTANT, slots=1, ICE_SERVERS=url, TURN_SECRET="another server's") as fleet:
        _, _, signal = await started(fleet)
        async with WebRTCPeer(signal) as peer:
            await peer.wait_for_sound()
    assert "Cannot find credentials of user" in coturn.output()
