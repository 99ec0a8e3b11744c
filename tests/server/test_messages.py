"""INFO packages and MESSAGE through a whole server, and what an agent is told of a supervisor."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

import rtpmix
from rtpmix.testing import TonePhone
from tests.server.pairs import A, B, Two
from tests.server.pairs import play as play_two
from tests.server.test_calls import ALICE, BOB, phone, play
from tests.server.transfers import Stage, perform

TEXT = {"message_types": ("text/plain",)}


def answer_all(server: rtpmix.Server) -> list[rtpmix.Event]:
    events: list[rtpmix.Event] = []
    server.bus.call(events.append)

    @server.on_invite
    async def answer(call: rtpmix.IncomingCall) -> None:
        leg = await call.answer()
        await leg.closed()

    return events


def of(events: list[rtpmix.Event], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def test_an_info_of_a_package_that_was_negotiated_becomes_an_event() -> None:
    """RFC 6086 sections 4.2 and 5.2: Recv-Info in the 200 names what is taken."""

    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        events = answer_all(server)
        await alice.call("sip:x@192.0.2.1")
        headers = [("Info-Package", "x-notes")]
        answer = await alice.request("INFO", headers, body=b"{}", content_type="application/json")
        assert answer.status == 200
        (info,) = of(events, rtpmix.InfoReceived)
        assert (info.package, info.content_type, info.body) == (
            "x-notes",
            "application/json",
            b"{}",
        )

    play(story, info_packages=("x-notes",))


def test_an_info_of_another_package_gets_469_with_what_is_taken() -> None:
    """RFC 6086 section 4.2.2."""

    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        events = answer_all(server)
        await alice.call("sip:x@192.0.2.1")
        line, call = alice._line, alice._call
        session = line.agent._core.calls[call or 0]
        session.dialog.recv_info = frozenset({"other"})  # type: ignore[attr-defined]
        answer = await alice.request("INFO", [("Info-Package", "other")])
        assert answer.status == 469
        assert answer.response is not None
        assert answer.response.headers.get("Recv-Info") == "x-notes"
        assert of(events, rtpmix.InfoReceived) == []

    play(story, info_packages=("x-notes",))


def test_an_info_goes_only_to_a_phone_that_takes_its_package() -> None:
    """RFC 6086 section 4.2.1: a UA must not send what the peer has not named."""

    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        reader = phone("reader", ALICE, 40, info_packages=("x-notes",))
        async with reader:
            leg = await server.invite(reader.uri)
            assert leg.takes_info("X-Notes")
            await leg.send_info("x-notes", b"hello", "text/plain")
            assert reader.requests[-1].headers.get("Info-Package") == "x-notes"
            assert reader.requests[-1].body == b"hello"
            reader.responses["INFO"] = 415
            with pytest.raises(rtpmix.CallFailed):
                await leg.send_info("x-notes", b"hello", "text/plain")
            for bad in (
                lambda: leg.send_info("other"),
                lambda: leg.send_info("x-notes", b"x" * 20000),
            ):
                with pytest.raises(rtpmix.UsageError):
                    await bad()
        deaf = await server.invite(bob.uri)
        with pytest.raises(rtpmix.UsageError, match="takes no INFO"):
            await deaf.send_info("x-notes")
        assert not bob.requests

    play(story)


def test_a_message_in_a_call_is_an_event_and_can_be_answered_with_one() -> None:
    """RFC 3428 section 6."""

    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        events = answer_all(server)
        await alice.call("sip:x@192.0.2.1")
        answer = await alice.request("MESSAGE", body=b"hello", content_type="text/plain")
        assert answer.status == 200
        (message,) = of(events, rtpmix.MessageReceived)
        (leg,) = server.legs
        assert (message.leg, message.body, message.identity) == (leg.id, b"hello", None)
        await leg.send_message("and you")
        assert alice.requests[-1].body == b"and you"
        with pytest.raises(rtpmix.UsageError, match="media type"):
            await leg.send_message("x", "text/plain\r\nX: y")

    play(story, **TEXT)


@pytest.mark.parametrize(
    ("config", "body", "kind", "status"),
    [
        ({}, b"x", "text/plain", 405),
        (TEXT, b"x", "text/html", 415),
        (TEXT, b"x" * 17_000, "text/plain", 413),
    ],
)
def test_what_is_not_taken_is_refused_with_the_reason(
    config: dict[str, Any], body: bytes, kind: str, status: int
) -> None:
    """RFC 3428 section 7; RFC 3261 sections 21.4.6, 21.4.11 and 21.4.13."""

    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        events = answer_all(server)
        await alice.call("sip:x@192.0.2.1")
        answer = await alice.request("MESSAGE", body=body, content_type=kind)
        assert answer.status == status
        assert answer.response is not None
        if status == 415:
            assert answer.response.headers.get("Accept") == "text/plain"
        assert ("MESSAGE" in answer.response.allow) is False
        assert of(events, rtpmix.MessageReceived) == []

    play(story, **config)


def test_a_stranger_may_not_write_and_a_user_may() -> None:
    """RFC 3428 section 11.2: a MESSAGE outside of a call is authenticated first."""
    login = rtpmix.Credential("ana", "secret")

    async def story(two: Two) -> None:
        await two.a.send_message(f"sip:desk@{B}", "hello")
        (message,) = two.of(rtpmix.MessageReceived)
        assert (message.leg, message.identity, message.body) == (None, "ana", b"hello")
        with pytest.raises(rtpmix.CallFailed) as failed:
            await two.b.send_message(f"sip:desk@{A}", "hello")
        assert failed.value.status == 403
        with pytest.raises(rtpmix.UsageError, match="1000"):
            await two.a.send_message(f"sip:desk@{B}", "x" * 1001)

    play_two(
        story,
        {"credentials": {B: login}, **TEXT},
        {"users": {"ana": "secret"}, "require_login": True, **TEXT},
    )


def test_a_policy_may_take_messages_of_strangers() -> None:
    async def story(two: Two) -> None:
        seen: list[rtpmix.IncomingMessage] = []

        @two.b.on_message
        def take(message: rtpmix.IncomingMessage) -> bool:
            seen.append(message)
            return message.target == "desk"

        await two.a.send_message(f"sip:desk@{B}", "hello", caller="sip:ana@example.net")
        assert (seen[0].sender, seen[0].identity) == ("sip:ana@example.net", None)
        with pytest.raises(rtpmix.CallFailed) as failed:
            await two.a.send_message(f"sip:other@{B}", "hello")
        assert failed.value.status == 403

    play_two(story, {}, TEXT)


@pytest.mark.parametrize("peer_has_tcp", [True, False])
def test_a_long_message_in_a_call_takes_tcp_or_after_all_udp(peer_has_tcp: bool) -> None:
    """RFC 3261 section 18.1.1, for requests in a dialog."""
    listens = (f"udp:{B}:5060", f"tcp:{B}:5060")[: 1 + peer_has_tcp]

    async def story(two: Two) -> None:
        leg = await two.a.invite(f"sip:bob@{B}")
        for _ in range(2):
            await leg.send_message("x" * 1400)
        assert [len(event.body) for event in two.of(rtpmix.MessageReceived)] == [1400, 1400]
        over_udp = two.requests("MESSAGE")  # the net shows datagrams alone
        assert len(over_udp) == (0 if peer_has_tcp else 2)
        assert two.a.snapshot()["streams"].get("failed", 0) == (0 if peer_has_tcp else 1)

    play_two(story, {}, {"sip_listen": listens, **TEXT})


# ---------------------------------------------------------------------------------- notices


def notices(agent: TonePhone) -> list[str]:
    """Return the modes that an agent's phone was told."""
    told = []
    for request in agent.requests:
        if request.method == "INFO":
            told.append(json.loads(request.body)["supervision"])
        elif request.method == "MESSAGE":
            told.append(request.body.decode().removeprefix("Supervision: "))
    return told


@pytest.mark.parametrize("kind", ["silent", "info", "message"])
def test_the_agent_alone_is_told_of_a_supervisor_who_speaks(kind: str) -> None:
    """RFC 6086 section 4.2.1: an INFO was negotiated; a monitor shows nowhere."""

    async def story(stage: Stage) -> None:
        await stage.connect(roles=True)
        leg = await stage.server.invite(stage.coach.uri)
        await asyncio.sleep(0.2)
        supervision = await stage.bridge.supervise(leg, agent=stage.agent_leg, notice=kind)
        await asyncio.sleep(0.5)
        assert notices(stage.agent) == []
        for mode in (rtpmix.Mode.WHISPER, rtpmix.Mode.MONITOR, rtpmix.Mode.BARGE):
            await supervision.set_mode(mode)
            await asyncio.sleep(0.5)
        await supervision.stop()
        await asyncio.sleep(0.5)
        expected = [] if kind == "silent" else ["whisper", "none", "barge", "none"]
        assert notices(stage.agent) == expected
        for other in (stage.customer, stage.coach, stage.target):
            assert notices(other) == []
        await leg.hangup()

    stage = Stage()
    stage.agent = with_package(stage, "rtpmix-supervision")
    perform(story, stage=stage)


def with_package(stage: Stage, package: str) -> TonePhone:
    agent = TonePhone(
        "agent", host="192.0.2.10", port=5060, frequency=437.0, info_packages=(package,)
    )
    stage.phones = (agent, *stage.phones[1:])
    return agent


def test_a_phone_that_did_not_ask_for_notices_gets_none() -> None:
    async def story(stage: Stage) -> None:
        await stage.connect(roles=True)
        supervision = await stage.supervise(rtpmix.Mode.WHISPER)
        await asyncio.sleep(0.5)
        assert notices(stage.agent) == []
        assert stage.server.snapshot()["notices"] == {"sent": 0, "failed": 0}
        await supervision.leg.hangup()

    perform(story, supervision_notice="info")


def test_a_monitor_is_told_of_only_where_that_is_wanted() -> None:
    async def story(stage: Stage) -> None:
        await stage.connect(roles=True)
        supervision = await stage.supervise(rtpmix.Mode.MONITOR)
        await asyncio.sleep(0.5)
        assert notices(stage.agent) == ["monitor"]
        await supervision.leg.hangup()

    perform(story, supervision_notice="message", notice_of_monitor=True)


def test_a_notice_that_is_refused_changes_nothing() -> None:
    async def story(stage: Stage) -> None:
        stage.agent.responses["MESSAGE"] = 405
        await stage.connect(roles=True)
        supervision = await stage.supervise(rtpmix.Mode.WHISPER)
        await asyncio.sleep(0.5)
        assert supervision.mode is rtpmix.Mode.WHISPER
        assert stage.server.snapshot()["notices"] == {"sent": 0, "failed": 1}
        await supervision.leg.hangup()

    perform(story, supervision_notice="message")


def test_an_unknown_notice_is_refused_before_anybody_is_attached() -> None:
    async def story(stage: Stage) -> None:
        await stage.connect(roles=True)
        leg = await stage.server.invite(stage.coach.uri)
        with pytest.raises(rtpmix.UsageError, match="notice"):
            await stage.bridge.supervise(leg, agent=stage.agent_leg, notice="loud")
        assert stage.bridge.supervisions == ()
        await leg.hangup()

    perform(story)


# --------------------------------------------------------------- call waiting, music on hold


def test_a_user_in_a_call_is_rung_again_or_busy_as_the_policy_says() -> None:
    """RFC 3261 section 21.4.24: the callee is in a call and takes no other."""

    async def story(server: rtpmix.Server, alice: TonePhone, bob: TonePhone) -> None:
        first = phone("ana", ALICE, 41, password="secret", domain="rtpmix")
        second = phone("ana", BOB, 42, password="secret", domain="rtpmix")
        async with first, second:
            await first.register()
            await server.invite("sip:ana@rtpmix")
            await second.register()
            with pytest.raises(rtpmix.CallFailed) as failed:
                await server.invite("sip:ana@rtpmix")
            assert failed.value.status == 486
            assert second.invitation is None
            first.bye()
            await asyncio.sleep(1)
            await server.invite("sip:ana@rtpmix")

    play(story, users={"ana": "secret"}, call_waiting=False)


def test_who_is_held_hears_music_and_the_supervisor_does_not() -> None:
    """A source in the bridge: the one who holds and the coach hear none of it."""
    from rtpmix.server.playing import tone

    music = 3181.0

    async def story(stage: Stage) -> None:
        await stage.connect(roles=True)
        await stage.supervise(rtpmix.Mode.MONITOR)
        await stage.agent.hold()
        await asyncio.sleep(1.5)
        assert stage.customer.hears(music) == {music}
        assert stage.coach.hears(music) == set()
        assert stage.agent.hears(music) == set()
        await stage.agent.resume()
        await asyncio.sleep(1.5)
        assert stage.customer.hears(music) == set()
        assert stage.heard(stage.customer) == ({437.0},)
        await stage.agent.hold()
        await asyncio.sleep(0.5)
        stage.agent.bye()  # while it holds: the music ends with it
        await asyncio.sleep(1)

    perform(story, hold_music=tone(music, 1.0))
