"""Attacks by lies: requests in other people's calls, and text that means more elsewhere."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

import rtpmix
from rtpmix.sip.message import Request, parse_message
from rtpmix.testing import TonePhone
from rtpmix.testing.servers import HOST
from tests.attacks.attacker import OFFER, REALM, USERS, Attacker, besiege, compose

TARGET = "sip:help@192.0.2.1"


def conference(server: rtpmix.Server) -> None:
    @server.on_invite
    async def meet(call: rtpmix.IncomingCall) -> None:
        leg = await call.answer()
        await leg.closed()


@pytest.mark.parametrize("method", ["BYE", "INVITE", "INFO", "UPDATE", "REFER"])
@pytest.mark.parametrize("known", ["nothing", "call id", "one tag"])
def test_a_stranger_cannot_speak_in_a_call(method: str, known: str) -> None:
    """RFC 3261 section 12.2.2: a dialog is Call-ID and both tags; ours can't be guessed."""

    async def story(server: rtpmix.Server) -> list[int]:
        conference(server)
        async with Attacker("192.0.2.10") as caller, Attacker() as attacker:
            invite = compose("INVITE", TARGET, sender="<sip:x@198.51.100.7>", body=OFFER)
            answer = await caller.ask(invite)
            assert answer.status == 200
            sender = str(invite.from_) if known == "one tag" else "<sip:x@198.51.100.7>;tag=guess"
            forged = compose(
                method,
                TARGET,
                sender=sender,
                to=f"<{TARGET}>;tag=guess",
                call_id="other" if known == "nothing" else invite.call_id,
                sequence=100,
                body=OFFER if method == "INVITE" else b"",
            )
            response = await attacker.ask(forged)
            return [response.status, len(server.legs)]

    status, legs = besiege(story)
    assert status in (405, 481)  # not a method of ours, or not a dialog of ours
    assert legs == 1


def test_a_stranger_cannot_cancel_a_call() -> None:
    """RFC 3261 section 9.2: the branch matches, or nothing does."""

    async def story(server: rtpmix.Server) -> int:
        @server.on_invite
        async def ring(call: rtpmix.IncomingCall) -> None:
            await call.ring()
            await asyncio.sleep(100)

        async with Attacker("192.0.2.10") as caller, Attacker() as attacker:
            invite = compose("INVITE", TARGET, sender="<sip:x@y>", body=OFFER, host="192.0.2.10")
            caller.throw(invite)
            await asyncio.sleep(0.1)
            cancel = compose(
                "CANCEL",
                TARGET,
                sender=str(invite.from_),
                call_id=invite.call_id,
                branch=invite.via.branch,  # overheard; the sent-by is the attacker's own
            )
            assert (await attacker.ask(cancel)).status == 481
        return int(server.snapshot()["sip"]["calls"])

    assert besiege(story) == 1


MARKUP = [
    'Eve\\"\\r\\nX-Injected: 1',
    "<script>alert(1)</script>",
    "\\\x1b[2J\\\x1b]0;owned\\\x07",
    "$(reboot)`reboot`%n%s",
    '=HYPERLINK(\\"http://x\\")',
    "\u202egnp.exe",
]


@pytest.mark.parametrize("name", MARKUP)
def test_a_display_name_adds_no_header_anywhere(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What a caller calls itself goes on as one quoted word, or not at all."""

    async def story(server: rtpmix.Server) -> list[bytes]:
        @server.on_invite
        async def forward(call: rtpmix.IncomingCall) -> None:
            try:
                agent = await server.invite(
                    "sip:agent@192.0.2.20", headers=[("X-Caller", call.caller_name or "")]
                )
                await agent.hangup()
            except rtpmix.UsageError:
                await call.reject(480)

        async with Attacker() as attacker, Attacker("192.0.2.20") as agent:
            data = compose("INVITE", TARGET, sender='"NAME" <sip:eve@198.51.100.7>', body=OFFER)
            attacker.throw(data.to_bytes().replace(b"NAME", name.encode()))
            await asyncio.sleep(0.3)
            return [*attacker.heard, *agent.heard]

    with caplog.at_level(logging.INFO):
        heard = besiege(story)
    assert heard
    for data in heard:
        message = parse_message(data)
        assert "X-Injected" not in message.headers
        assert data.count(b"\r\n\r\n") == 1
    assert "Eve" not in caplog.text
    assert "script" not in caplog.text


@pytest.mark.parametrize(
    "header", [("X-A", "1\r\nX-B: 2"), ("X-A", "1\nX-B: 2"), ("X-A\r\nX-B", "1"), ("X-A", "\0")]
)
def test_a_program_cannot_be_made_to_write_two_headers(header: tuple[str, str]) -> None:
    async def story(server: rtpmix.Server) -> None:
        with pytest.raises(rtpmix.UsageError):
            await server.invite("sip:agent@192.0.2.20", headers=[header])

    besiege(story)


def test_the_logs_of_a_whole_call_name_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Above DEBUG: no address, no user, no password, no key, no Call-ID."""

    async def story(server: rtpmix.Server) -> list[str]:
        secrets: list[str] = []

        @server.on_invite
        async def meet(call: rtpmix.IncomingCall) -> None:
            if call.target == "fail":
                raise RuntimeError("a mistake of the program's")
            leg = await call.answer()
            bridge = await server.bridge(leg)
            await asyncio.sleep(0.5)
            await bridge.close()

        phones: dict[str, Any] = {"domain": REALM, "proxy": (HOST, 5060)}
        alice = TonePhone("alice", host="192.0.2.10", password=USERS["alice"], **phones)
        thief = TonePhone("mallory", host="192.0.2.11", password="hunter2", **phones)
        async with alice, thief, Attacker() as attacker:
            await alice.register()
            await alice.call(f"sip:room@{HOST}")
            assert await alice.ended() == "remote-bye"
            for call in (alice.call(f"sip:fail@{HOST}"), thief.register()):
                with pytest.raises(rtpmix.CallFailed):
                    await call
            attacker.throw(b"INVITE sip:victim@10.1.2.3 SIP/2.0\r\nbroken\r\n\r\n")
            forged = compose("BYE", TARGET, to=f"<{TARGET}>;tag=x", call_id="secret-call")
            attacker.throw(forged)
            await asyncio.sleep(1)
            secrets += [forged.call_id]
        return secrets

    with caplog.at_level(logging.INFO):
        secrets = besiege(story)
    text = "\n".join(record.getMessage() for record in caplog.records)
    names = ["alice", "mallory", "room", "victim", *USERS.values(), "hunter2", REALM]
    for word in ("192.0.2.", "10.1.2.3", "z9hG4bK", *names, *secrets):
        assert word not in text, word


def test_a_request_for_a_name_is_never_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names out of messages: Via, Contact, Record-Route, SDP. A look-up would block or tell."""
    asked: list[Any] = []

    async def story(server: rtpmix.Server) -> None:
        conference(server)

        async def look_up(*arguments: Any, **_: Any) -> Any:
            asked.append(arguments)
            raise OSError

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
        async with Attacker() as attacker:
            offer = OFFER.replace(b"IN IP4 192.0.2.66\r\nt=", b"IN IP4 trap.example\r\nt=")
            invite = compose(
                "INVITE",
                TARGET,
                sender="<sip:x@trap.example>",
                host="trap.example",
                contact="<sip:x@trap.example>",
                headers=(("Record-Route", "<sip:trap.example;lr>"),),
                body=offer,
            )
            answer = await attacker.ask(invite)
            assert answer.status == 200
            ack = compose(
                "ACK",
                TARGET,
                sender=str(invite.from_),
                to=str(answer.to),
                call_id=invite.call_id,
                host="trap.example",
            )
            attacker.throw(ack)
            await asyncio.sleep(0.1)
            await asyncio.gather(*(leg.hangup() for leg in server.legs))
            await asyncio.sleep(0.1)
            sent = [parse_message(data) for data in attacker.heard]
            assert [each.method for each in sent if isinstance(each, Request)] == ["BYE"]

    besiege(story)
    assert asked == []
