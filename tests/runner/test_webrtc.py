"""Signalling in the bot's process, with real connections."""

from aiortc import RTCPeerConnection

from services.runner.webrtc import Signalling
from shared.contract import Candidates, CommandReason, IceCandidate, Offer, Outcome

CANDIDATE = "candidate:1 1 udp 2130706431 127.0.0.1 9 typ host"


async def test_what_a_client_that_is_there_says_wrong_is_refused_with_what_is_wrong() -> None:
    """It was an error of the bot's, without a word of what."""
    client = RTCPeerConnection()
    client.addTransceiver("audio")
    await client.setLocalDescription(await client.createOffer())
    signalling = Signalling([])
    first = await signalling.offer(Offer(command_id="1", sdp=client.localDescription.sdp, sdp_type="offer"))
    assert isinstance(first.result, dict)
    pc_id = first.result["pc_id"]
    homeless = Candidates(command_id="2", pc_id=pc_id, candidates=(IceCandidate(candidate=CANDIDATE),))
    replies = [
        await signalling.candidates(homeless),
        await signalling.offer(Offer(command_id="3", sdp=client.localDescription.sdp, sdp_type="bogus", pc_id=pc_id)),
    ]
    assert [(one.outcome, one.reason) for one in replies] == [(Outcome.FAILED, CommandReason.REFUSED)] * 2
    assert [(one.message or "").split(":")[0] for one in replies] == ["candidates", "sdp"]
    connection, _ = await signalling.offered()
    await connection.disconnect()  # type: ignore[no-untyped-call]
    await client.close()
