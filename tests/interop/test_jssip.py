"""A web phone of another project over WSS: JsSIP on Node.js, signalling only."""

from __future__ import annotations

import asyncio
from pathlib import Path

import rtpmix
from tests.interop import processes
from tests.server.pki import Authority

PHONE = Path(__file__).parent / "jssip"
ORIGIN = "https://phone.example.com"


async def test_a_web_phone_registers_is_called_held_and_calls_over_one_socket(
    node: str, tmp_path: Path
) -> None:
    """RFC 7118: requests in both directions over the connection that the page opened."""
    ca = Authority(tmp_path)
    certificate, key = ca.issue("server", "127.0.0.1")
    config = rtpmix.Config(
        sip_listen=("wss:127.0.0.1:0",),
        tls=rtpmix.TlsConfig(certificate=certificate, key=key),
        websocket_origins=(ORIGIN,),
        media_address="127.0.0.1",
        users={"web": "sesame"},
        realm="pbx.example",
        recording_key=tmp_path / "recording.key",
    )
    causes: asyncio.Queue[str] = asyncio.Queue()
    async with rtpmix.Server(config) as server:

        @server.on_invite
        async def answer(call: rtpmix.IncomingCall) -> None:
            leg = await call.answer()
            causes.put_nowait((await leg.closed()).cause)

        events = server.events()
        arguments = ("web", "sesame", "pbx.example", ORIGIN)
        command = [node, str(PHONE / "phone.js"), f"wss://{server.sip_address}", *arguments]
        log = tmp_path / "jssip.log"
        phone = await processes.start(
            ["env", f"NODE_EXTRA_CA_CERTS={ca.certificate}", *command], log
        )
        try:
            async with asyncio.timeout(90):
                async for event in events:
                    if isinstance(event, rtpmix.Registered):
                        break
                # This one has no WebRTC: it takes what a browser would refuse.
                leg = await server.invite(
                    "sip:web@pbx.example", encryption=rtpmix.Encryption.FORBIDDEN
                )
                await leg.hold()
                await leg.hangup()
                assert await causes.get() == "remote-bye"
                await phone.wait()
        finally:
            await processes.stop(phone)
        assert server.contacts("web") == 0  # it unregistered
        streams = server.snapshot()["streams"]
        assert streams["connections"] == 0
    assert log.read_text().split("\n")[:7] == [
        "connected",
        "registered",
        "confirmed remote",
        "hold remote",
        "ended remote by remote",
        "confirmed local",
        "ended local by local",
    ]
