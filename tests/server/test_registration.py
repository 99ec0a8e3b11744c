"""Phones register with a digest login, are called by their address of record, and call others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import rtpmix
from rtpmix.sip.message import Request, parse_message, respond
from rtpmix.testing import TonePhone, VirtualNet, run
from rtpmix.testing.servers import HOST, virtual_server
from tests.attacks.attacker import Attacker, credentials, register

USERS = {"alice": "wonderland", "bob": "builder"}
REALM = "pbx.example"


def phone(user: str, last: int, password: str | None = None, **more: Any) -> TonePhone:
    return TonePhone(
        user,
        host=f"192.0.2.{last}",
        domain=REALM,
        proxy=(HOST, 5060),
        password=USERS.get(user) if password is None else password,
        **more,
    )


def play(story: Callable[[rtpmix.Server], Awaitable[Any]], **config: Any) -> Any:
    net = VirtualNet(seed=2, delay_ms=5)

    async def main() -> Any:
        async with virtual_server(net, users=USERS, realm=REALM, **config) as server:
            return await story(server)

    return run(main(), net, limit=9000)


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
def test_a_registered_user_is_called_by_name(transport: str) -> None:
    async def story(server: rtpmix.Server) -> None:
        async with phone("bob", 20, transport=transport) as bob:
            await bob.register()
            assert server.contacts("bob") == 1
            leg = await server.invite(f"sip:bob@{REALM}")
            assert leg.user == "bob"
            await leg.hangup()
            await bob.register(expires=0)
            with pytest.raises(rtpmix.CallFailed) as failed:
                await server.invite(f"sip:bob@{REALM}")
            assert failed.value.status == 480

    play(story)


def test_a_user_who_logs_in_calls_with_their_identity() -> None:
    async def story(server: rtpmix.Server) -> None:
        seen: list[tuple[str, str | None]] = []

        @server.on_invite
        async def note(call: rtpmix.IncomingCall) -> None:
            seen.append((call.caller, call.identity))
            await call.reject(486)

        async with phone("alice", 10) as alice:
            with pytest.raises(rtpmix.CallFailed) as failed:
                await alice.call(f"sip:bob@{REALM}")
        assert failed.value.status == 486
        assert seen == [(f"sip:alice@{REALM}", "alice")]

    play(story)


@pytest.mark.parametrize("user", ["alice", "nobody"])
def test_a_wrong_password_and_an_unknown_user_get_the_same_answer(user: str) -> None:
    async def story(server: rtpmix.Server) -> None:
        async with phone(user, 10, "guess") as stranger:
            with pytest.raises(rtpmix.CallFailed) as failed:
                await stranger.register()
            assert failed.value.status == 401
            with pytest.raises(rtpmix.CallFailed) as failed:
                await stranger.call(f"sip:bob@{REALM}")
            assert failed.value.status == 401
        assert server.contacts(user) == 0

    play(story)


def test_a_stranger_may_call_unless_a_login_is_required() -> None:
    async def story(server: rtpmix.Server) -> list[str | None]:
        seen: list[str | None] = []

        @server.on_invite
        async def note(call: rtpmix.IncomingCall) -> None:
            seen.append(call.identity)
            await call.reject(486)

        stranger = TonePhone("visitor", host="192.0.2.50", proxy=(HOST, 5060))
        async with stranger:
            with pytest.raises(rtpmix.CallFailed) as failed:
                await stranger.call(f"sip:help@{HOST}")
        return [*seen, failed.value.status]  # type: ignore[list-item]

    assert play(story) == [None, 486]
    assert play(story, require_login=True) == [401]


def test_a_challenged_call_comes_again_with_its_credentials() -> None:
    async def story(server: rtpmix.Server) -> None:
        seen: list[str | None] = []

        @server.on_invite
        async def staff_only(call: rtpmix.IncomingCall) -> None:
            seen.append(call.identity)
            if call.identity is None:
                await call.challenge()
            else:
                await call.reject(603)

        visitor = TonePhone("alice", host="192.0.2.50", proxy=(HOST, 5060), password=USERS["alice"])
        async with visitor:
            with pytest.raises(rtpmix.CallFailed) as failed:
                await visitor.call(f"sip:help@{HOST}")
        assert failed.value.status == 603
        assert seen == [None, "alice"]

    play(story)


def test_the_first_of_several_phones_that_answers_gets_the_call() -> None:
    async def story(server: rtpmix.Server) -> None:
        slow = phone("bob", 20, answer_after=5.0)
        quick = phone("bob", 21, answer_after=1.0)
        async with slow, quick:
            await slow.register()
            await quick.register()
            leg = await server.invite(f"sip:bob@{REALM}")
            assert asyncio.get_running_loop().time() < 2
            assert await slow.ended() == "cancelled"
            assert leg.is_open
            await leg.hangup()
            assert await quick.ended() == "remote-bye"

    play(story)


def test_a_registration_is_refreshed_and_one_that_is_not_runs_out() -> None:
    async def story(server: rtpmix.Server) -> None:
        bob = phone("bob", 20)
        await bob.open()
        await bob.register(expires=120)
        await asyncio.sleep(1000)
        assert server.contacts("bob") == 1  # the phone refreshed
        await bob.close()
        await asyncio.sleep(200)
        assert server.contacts("bob") == 0

    play(story)


def test_nobody_registers_for_somebody_else() -> None:
    """RFC 3261 section 10.3 step 3: authenticated, but not authorised."""

    async def story(server: rtpmix.Server) -> None:
        thief = phone("alice", 66)
        async with thief:
            thief._line.user = "bob"  # the To says bob, the credentials say alice
            with pytest.raises(rtpmix.CallFailed) as failed:
                await thief.register()
        assert failed.value.status in (401, 403)
        assert server.contacts("bob") == 0

    play(story)


INSTANCE = '+sip.instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"'


async def register_raw(desk: Attacker, user: str, contact: str, *headers: tuple[str, str]) -> int:
    challenge = await desk.ask(register(user))
    proof = credentials(challenge, user, USERS[user])
    return (await desk.ask(register(user, proof, *headers, contact=contact))).status


async def invites(desk: Attacker, many: int) -> list[Request]:
    for _ in range(1000):
        await asyncio.sleep(0.01)
        heard = [parse_message(data) for data in desk.heard]
        found = [each for each in heard if isinstance(each, Request) and each.method == "INVITE"]
        if len(found) >= many:
            return found
    raise AssertionError(f"fewer than {many} INVITEs came")


def test_a_phone_behind_a_proxy_is_called_along_its_path() -> None:
    """RFC 3327 section 5.4: the contact in the Request-URI, the path as Route."""

    async def story(server: rtpmix.Server) -> None:
        path = ("<sip:192.0.2.66;lr>", "<sip:edge.example.com;lr>")
        async with Attacker() as edge:
            values = [("Path", value) for value in path]
            assert await register_raw(edge, "bob", "<sip:bob@10.0.0.9:5070>", *values) == 200
            call = asyncio.ensure_future(server.invite(f"sip:bob@{REALM}"))
            (invite,) = await invites(edge, 1)
            assert invite.uri == "sip:bob@10.0.0.9:5070"
            assert [str(route) for route in invite.routes] == list(path)
            edge.throw(respond(invite, 486, to_tag="x"))
            with pytest.raises(rtpmix.CallFailed):
                await call

    play(story)


def test_a_device_with_two_flows_rings_once_and_by_the_other_when_one_has_failed() -> None:
    """RFC 5626 sections 5.3 and 6: 430 ends the binding."""

    async def story(server: rtpmix.Server) -> list[int]:
        async with Attacker("192.0.2.66") as first, Attacker("192.0.2.67") as second:
            for number, desk in ((1, first), (2, second)):
                contact = f"<sip:bob@{desk.address[0]};ob>;{INSTANCE};reg-id={number}"
                assert await register_raw(desk, "bob", contact) == 200
            assert server.contacts("bob") == 2
            call = asyncio.ensure_future(server.invite(f"sip:bob@{REALM}"))
            (invite,) = await invites(second, 1)
            await asyncio.sleep(0.2)
            assert not [data for data in first.heard if data.startswith(b"INVITE")]
            second.throw(respond(invite, 430, "Flow Failed", to_tag="x"))
            (invite,) = await invites(first, 1)
            first.throw(respond(invite, 486, to_tag="x"))
            with pytest.raises(rtpmix.CallFailed) as failed:
                await call
            return [failed.value.status, server.contacts("bob")]

    assert play(story) == [486, 1]


def test_a_phone_behind_a_nat_is_forgotten_with_its_connection() -> None:
    """RFC 5626 section 6; in the virtual net, connections come from another address."""

    async def story(server: rtpmix.Server) -> list[int]:
        seen = []
        async with phone("bob", 20, transport="TCP") as bob:
            await bob.register()
            seen.append(server.contacts("bob"))
        await asyncio.sleep(1)
        return [*seen, server.contacts("bob")]

    assert play(story) == [1, 0]
