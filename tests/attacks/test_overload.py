"""More calls than a whole server can read, in virtual time: who goes first, and who is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import rtpmix
from rtpmix.server.sip_shell import NEW_AT_ONCE, REFUSED_AT_ONCE
from rtpmix.sip.backlog import STANDING_S, TARGET_S
from rtpmix.sip.message import Request
from tests.attacks.attacker import OFFER, SERVER, Attacker, acknowledge, besiege, compose

TARGET = "sip:help@192.0.2.1"
TRUSTED = ("192.0.2.0/24",)


def invite(**more: Any) -> Request:
    sender = "<sip:stranger@198.51.100.7>"
    return compose("INVITE", TARGET, sender=sender, body=OFFER, **more)


def take(server: rtpmix.Server, attacker: Attacker, *requests: Request) -> None:
    """Give the server datagrams that came in one turn of its loop."""
    shell = server._started().open_shell
    for request in requests:
        shell._take(request.to_bytes(), attacker.address, SERVER)
    shell._serve()


def test_what_belongs_to_a_call_goes_before_new_calls() -> None:
    async def story(server: rtpmix.Server) -> None:
        @server.on_invite
        async def refuse(call: rtpmix.IncomingCall) -> None:
            await call.reject(486)

        async with Attacker() as attacker:
            calls = [invite() for _ in range(5 * NEW_AT_ONCE)]
            bye = compose("BYE", TARGET, to=f"<{TARGET}>;tag=none")
            take(server, attacker, *calls, bye)
            waiting = server.snapshot()["sip_udp"]["waiting"]
            assert waiting == 4 * NEW_AT_ONCE  # and the loop has its turn
            await asyncio.sleep(0.1)
            assert attacker.responses[0].cseq.method == "BYE"
            assert sum(each.status == 486 for each in attacker.responses) == len(calls)
            assert server.snapshot()["sip_udp"]["waiting"] == 0

    besiege(story, trusted_networks=TRUSTED)


def test_a_cancel_does_not_overtake_its_invite() -> None:
    """RFC 3261 section 9.2: else it would find nothing to cancel, and the phone would ring on."""

    async def story(server: rtpmix.Server) -> list[int]:
        @server.on_invite
        async def ring(call: rtpmix.IncomingCall) -> None:
            await call.ring()
            await asyncio.sleep(100)

        async with Attacker() as attacker:
            calls = [invite() for _ in range(3 * NEW_AT_ONCE)]
            last = calls[-1]
            assert last.via.branch is not None
            cancel = compose(
                "CANCEL",
                TARGET,
                sender=last.headers.get("From") or "",
                call_id=last.call_id,
                branch=last.via.branch,
            )
            take(server, attacker, *calls, cancel)
            await asyncio.sleep(0.1)
            return [each.status for each in attacker.responses if each.call_id == last.call_id]

    statuses = besiege(story, trusted_networks=TRUSTED)
    assert 481 not in statuses
    assert sorted(statuses)[-2:] == [200, 487]


def test_a_queue_that_stands_is_refused_unread_and_its_acks_too() -> None:
    """RFC 3261 sections 8.2.7 and 21.5.4, RFC 8289."""

    async def story(server: rtpmix.Server) -> None:
        @server.on_invite
        async def busy(call: rtpmix.IncomingCall) -> None:
            await call.reject(486)

        backlog = server._started().open_shell.backlog
        async with Attacker() as attacker:
            old = [invite() for _ in range(40)]
            for request in old:  # they wait for as long as the test wants
                now = asyncio.get_running_loop().time()
                backlog.add(request.to_bytes(), attacker.address, SERVER, now)
            await asyncio.sleep(STANDING_S + 0.1)
            young = invite()
            take(server, attacker, young)
            await asyncio.sleep(TARGET_S / 2)
            answers = {each.call_id: each for each in attacker.responses if each.status >= 200}
            assert [answers[request.call_id].status for request in old] == [503] * 40
            assert answers[young.call_id].status == 486
            refused = answers[old[0].call_id]
            assert refused.headers.get("Retry-After") == "5"
            for request in old:
                attacker.throw(acknowledge(request, answers[request.call_id]))
            await asyncio.sleep(0.1)
            counts = server.snapshot()
            assert counts["sip"]["refused_unread"] == counts["sip"]["refusals_acknowledged"] == 40
            assert counts["sip_udp"]["late_refused"] == 40
            assert counts["sip"]["calls"] == 0
            # Calls by another transport share their fate while it lasts, and no longer.
            load = server._overload
            assert load is not None
            await asyncio.sleep(0.2)
            assert load.admission.load.queue_share == 0.0

    besiege(story, trusted_networks=TRUSTED)


def test_calls_beyond_the_most_are_not_even_read() -> None:
    async def story(server: rtpmix.Server) -> None:
        @server.on_invite
        async def ring(call: rtpmix.IncomingCall) -> None:
            await call.ring()
            await asyncio.sleep(100)

        async with Attacker() as attacker:
            for _ in range(30):
                attacker.throw(invite())
            await asyncio.sleep(0.1)
            counts = server.snapshot()["sip"]
            assert (counts["calls"], counts["refused_unread"]) == (20, 10)

    besiege(story, max_calls=20)


def test_a_host_beyond_its_bound_is_refused_unread_however_it_spells_invite() -> None:
    async def story(server: rtpmix.Server) -> None:
        @server.on_invite
        async def busy(call: rtpmix.IncomingCall) -> None:
            await call.reject(486)

        async with Attacker() as attacker:
            for _ in range(45):
                attacker.throw(invite())
            for _ in range(45):
                attacker.throw(b"\r\n" + invite().to_bytes())
            await asyncio.sleep(0.2)
            counts = server.snapshot()
            assert 80 >= counts["overload"]["flood_refused"] >= 75
            assert counts["sip"]["refused_unread"] >= 30
            assert sum(each.status == 486 for each in attacker.responses) <= 15

    besiege(story, requests_per_source=10.0)


def test_refusing_leaves_time_to_serve() -> None:
    """Past so many refusals in a turn callers get no answer, and somebody is still served."""

    async def story(server: rtpmix.Server) -> None:
        @server.on_invite
        async def busy(call: rtpmix.IncomingCall) -> None:
            await call.reject(486)

        backlog = server._started().open_shell.backlog
        async with Attacker() as attacker:
            now = asyncio.get_running_loop().time()
            for _ in range(200):
                backlog.add(invite().to_bytes(), attacker.address, SERVER, now)
            await asyncio.sleep(STANDING_S + 0.1)
            take(server, attacker, invite())
            await asyncio.sleep(0.1)
            counts = server.snapshot()
            assert counts["sip"]["refused_unread"] == REFUSED_AT_ONCE
            assert counts["sip_udp"]["unanswered"] == 200 - REFUSED_AT_ONCE
            assert counts["sip_udp"]["read"] == 1

    besiege(story, trusted_networks=TRUSTED)
