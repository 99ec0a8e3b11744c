"""Lamps, rosters, presence and mailboxes through a whole server, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, cast
from xml.etree import ElementTree

import pytest

import rtpmix
from rtpmix.sip.digest import answer_challenge
from rtpmix.sip.message import Request, Response, parse_message, respond
from rtpmix.testing import PhoneState, TonePhone, VirtualNet, run
from rtpmix.testing.servers import HOST, virtual_server

USERS = {"anna": "a", "ben": "b"}
SERVER = (HOST, 5060)


class Lamp(asyncio.DatagramProtocol):
    """A desk phone's lamp: subscribes, answers every NOTIFY, and remembers them."""

    def __init__(self, user: str, host: str, password: str | None = None) -> None:
        self.user, self.host = user, host
        self.password = USERS.get(user) if password is None else password
        self.notifies: list[Request] = []
        self.answer_with = 200
        self.tag = ""  # the server's
        self._numbers = count(1)
        self._answers: dict[str, asyncio.Future[Response]] = {}

    async def __aenter__(self) -> Lamp:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=(self.host, 5060)
        )
        self._transport = cast(asyncio.DatagramTransport, transport)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        message = parse_message(data)
        if isinstance(message, Response):
            waiting = self._answers.get(message.via.branch or "")
            if waiting is not None and not waiting.done() and message.status >= 200:
                waiting.set_result(message)
            return
        self.notifies.append(message)
        if self.answer_with:
            self._transport.sendto(respond(message, self.answer_with).to_bytes(), addr)

    async def watch(self, resource: str, package: str, expires: int = 60) -> int:
        """Subscribe, with a login if asked for it; return the status."""
        answer = await self._subscribe(resource, package, expires, [])
        if answer.status == 401 and self.password is not None:
            proof = answer_challenge(
                answer,
                method="SUBSCRIBE",
                uri=f"sip:{resource}@{HOST}",
                username=self.user,
                password=self.password,
                cnonce="c",
            )
            answer = await self._subscribe(resource, package, expires, [proof])
        self.tag = answer.to.tag or "" if answer.status == 200 else self.tag
        await asyncio.sleep(0.5)
        return answer.status

    async def _subscribe(
        self, resource: str, package: str, expires: int, headers: list[tuple[str, str]]
    ) -> Response:
        number = next(self._numbers)
        branch = f"z9hG4bK{self.user}{number}"
        to = f"<sip:{resource}@{HOST}>" + (f";tag={self.tag}" if self.tag else "")
        request = Request.create(
            "SUBSCRIBE",
            f"sip:{resource}@{HOST}",
            [
                ("Via", f"SIP/2.0/UDP {self.host}:5060;branch={branch}"),
                ("Max-Forwards", "70"),
                ("From", f"<sip:{self.user}@elsewhere.example>;tag=w"),
                ("To", to),
                ("Call-ID", f"watch-{self.user}-{self.host}"),
                ("CSeq", f"{number} SUBSCRIBE"),
                ("Contact", f"<sip:{self.user}@{self.host}:5060>"),
                ("Event", package),
                ("Expires", str(expires)),
                *headers,
            ],
        )
        answer = self._answers[branch] = asyncio.get_running_loop().create_future()
        self._transport.sendto(request.to_bytes(), SERVER)
        return await answer

    @property
    def xml(self) -> ElementTree.Element:
        """The last document."""
        return ElementTree.fromstring(self.notifies[-1].body)

    def texts(self, tag: str) -> list[str | None]:
        """Return the texts of every element of that name in the last document."""
        return [each.text for each in self.xml.iter() if each.tag.endswith(f"}}{tag}")]


class Office:
    def __init__(self) -> None:
        self.net = VirtualNet(seed=3, delay_ms=5)
        self.server = virtual_server(self.net, users=USERS)
        self.anna = self.phone("anna", 10)
        self.ben = self.phone("ben", 20)
        self.stranger = TonePhone("zoe", host="192.0.2.30", port=5060)
        self.lamp = Lamp("ben", "192.0.2.40")

    @staticmethod
    def phone(user: str, last: int) -> TonePhone:
        return TonePhone(
            user,
            host=f"192.0.2.{last}",
            proxy=SERVER,
            domain="rtpmix",
            password=USERS[user],
        )


def visit(story: Callable[[Office], Awaitable[Any]]) -> None:
    office = Office()

    async def main() -> None:
        phones = (office.anna, office.ben, office.stranger)
        async with office.server, office.lamp, office.anna, office.ben, office.stranger:

            @office.server.on_invite
            async def meet(call: rtpmix.IncomingCall) -> None:
                leg = await call.answer()
                room = office.server.find_bridge(call.target)
                if room is None:
                    room = await office.server.bridge(name=call.target)
                await room.add(leg)
                await leg.closed()

            await story(office)
            for each in phones:
                if each.state is not PhoneState.IDLE:
                    each.bye()
            await asyncio.sleep(100)  # longer than any subscription here
            left = office.server.snapshot()
            assert left["watchers"]["watching"] == left["sip"]["subscriptions"] == 0
            assert left["sip"]["dialogs"] == left["sip"]["timers"] == 0

    run(main(), office.net, limit=2000)


def test_a_lamp_shows_ringing_talking_and_idle() -> None:
    """RFC 4235: early, confirmed, gone; each document is one version above the last."""

    async def story(office: Office) -> None:
        await office.anna.register()
        assert await office.lamp.watch("anna", "dialog") == 200
        assert office.lamp.texts("state") == []
        office.anna.answer_after = 2.0
        leg = await office.server.invite("sip:anna@rtpmix")
        await asyncio.sleep(1)
        states = [
            [e.text for e in ElementTree.fromstring(n.body).iter() if e.tag.endswith("}state")]
            for n in office.lamp.notifies
        ]
        assert states == [[], ["early"], ["confirmed"]]
        await leg.hangup()
        await asyncio.sleep(1)
        assert office.lamp.texts("state") == []
        versions = [ElementTree.fromstring(n.body).get("version") for n in office.lamp.notifies]
        assert versions == ["0", "1", "2", "3"]
        assert office.lamp.notifies[-1].content_type == "application/dialog-info+xml"

    visit(story)


def test_what_names_a_dialog_is_told_to_its_user_alone() -> None:
    """RFC 4235 section 6: Call-ID and tags are the key to Replaces and Join."""

    async def story(office: Office) -> None:
        await office.anna.call(f"sip:room@{HOST}")
        await office.lamp.watch("anna", "dialog")
        (dialog,) = [each for each in office.lamp.xml if each.tag.endswith("}dialog")]
        assert dialog.get("call-id") is None
        assert dialog.get("direction") == "initiator"
        async with Lamp("anna", "192.0.2.41") as own:
            await own.watch("anna", "dialog")
            (dialog,) = [each for each in own.xml if each.tag.endswith("}dialog")]
            named = (dialog.get("call-id"), dialog.get("local-tag"), dialog.get("remote-tag"))
            assert named == office.anna.dialog
            office.anna.bye()
            await asyncio.sleep(1)

    visit(story)


@pytest.mark.parametrize(
    ("user", "password", "resource", "package", "status"),
    [
        ("ben", "b", "anna", "dialog", 200),
        ("ben", "b", "anna", "presence", 200),
        ("ben", "b", "ben", "message-summary", 200),
        ("ben", "b", "anna", "message-summary", 403),
        ("ben", "b", "room", "conference", 403),
        ("ben", "wrong", "anna", "dialog", 401),
        ("zoe", None, "anna", "dialog", 401),
        ("ben", "b", "anna", "weather", 489),
    ],
)
def test_who_may_watch_what(
    user: str, password: str | None, resource: str, package: str, status: int
) -> None:
    """RFC 6665 section 4.2.1.2: authorisation first; nothing is told to strangers."""

    async def story(office: Office) -> None:
        async with Lamp(user, "192.0.2.42", password) as lamp:
            assert await lamp.watch(resource, package) == status
            assert len(lamp.notifies) == (status == 200)

    visit(story)


def test_a_rooms_roster_hides_who_listens_silently() -> None:
    """RFC 4575; and a monitor causes no NOTIFY, which would betray as much as a line in one."""

    async def story(office: Office) -> None:
        await office.ben.call(f"sip:room@{HOST}")
        await office.anna.call(f"sip:room@{HOST}")
        assert await office.lamp.watch("room", "conference") == 200
        assert office.lamp.texts("user-count") == ["2"]
        told = len(office.lamp.notifies)
        coach = await office.server.invite(office.stranger.uri)
        room = office.server.find_bridge("room")
        assert room is not None
        supervision = await room.supervise(coach, agent=room.legs[0], mode=rtpmix.Mode.MONITOR)
        await asyncio.sleep(1)
        assert office.lamp.texts("user-count") == ["2"]
        roles = office.lamp.texts("entry")
        await supervision.set_mode(rtpmix.Mode.WHISPER)
        await asyncio.sleep(1)
        assert office.lamp.texts("entry") == roles
        assert len(office.lamp.notifies) == told + 1  # the agent's role; that was asked for
        await supervision.set_mode(rtpmix.Mode.BARGE)
        await asyncio.sleep(1)
        assert office.lamp.texts("user-count") == ["3"]
        await coach.hangup()

    visit(story)


def test_presence_follows_registration_and_calls() -> None:
    """RFC 3856 and RFC 3863."""

    async def story(office: Office) -> None:
        await office.lamp.watch("anna", "presence")
        assert office.lamp.texts("basic") == ["closed"]
        await office.anna.register()
        await asyncio.sleep(0.5)
        assert office.lamp.texts("basic") == ["open"]
        await office.anna.call(f"sip:room@{HOST}")
        await asyncio.sleep(0.5)
        assert office.lamp.texts("note") == ["On the phone"]

    visit(story)


def test_a_mailbox_lights_its_lamp() -> None:
    """RFC 3842."""

    async def story(office: Office) -> None:
        await office.lamp.watch("ben", "message-summary")
        assert b"Messages-Waiting: no" in office.lamp.notifies[-1].body
        office.server.set_messages("ben", new=2, old=5)
        await asyncio.sleep(0.5)
        assert b"Messages-Waiting: yes" in office.lamp.notifies[-1].body
        assert b"Voice-Message: 2/5" in office.lamp.notifies[-1].body
        with pytest.raises(rtpmix.UsageError):
            office.server.set_messages("ben", new=-1)

    visit(story)


def test_a_fetch_is_told_once_and_a_lamp_that_is_gone_no_more() -> None:
    async def story(office: Office) -> None:
        assert await office.lamp.watch("anna", "dialog", expires=0) == 200
        state = office.lamp.notifies[-1].headers.get("Subscription-State")
        assert state == "terminated;reason=timeout"
        assert office.server.snapshot()["watchers"]["watching"] == 0
        async with Lamp("ben", "192.0.2.43") as gone:
            gone.answer_with = 481
            await gone.watch("anna", "dialog")
            assert office.server.snapshot()["watchers"]["watching"] == 0

    visit(story)


def test_many_changes_at_once_are_told_as_one() -> None:
    async def story(office: Office) -> None:
        await office.lamp.watch("ben", "message-summary")
        told = len(office.lamp.notifies)
        for number in range(50):
            office.server.set_messages("ben", new=number)
        await asyncio.sleep(0.5)
        assert len(office.lamp.notifies) == told + 1
        assert b"49/0" in office.lamp.notifies[-1].body

    visit(story)
