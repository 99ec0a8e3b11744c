"""A softphone's daily life: logging in, being called by name, hold, keys."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator

import pytest

import rtpmix
from rtpmix.testing.audio import level_db
from tests.interop.conftest import Phones


@pytest.fixture
def config(config: rtpmix.Config) -> rtpmix.Config:
    """A server that knows two users."""
    users = {"alice": "wonderland", "bob": "builder"}
    return dataclasses.replace(config, users=users, realm="pbx.test")


async def registered(server: rtpmix.Server, user: str) -> None:
    """Wait until a phone of the user is registered."""
    async with asyncio.timeout(30):
        while not server.contacts(user):  # noqa: ASYNC110 - a counter
            await asyncio.sleep(0.05)


async def test_a_softphone_registers_and_is_called_by_its_address_of_record(
    server: rtpmix.Server, phones: Phones
) -> None:
    """RFC 3261 sections 10 and 22: challenge, credentials, binding, call."""
    alice = await phones("alice", 437.0, registrar=server.sip_address, password="wonderland")
    await registered(server, "alice")
    leg = await server.invite("sip:alice@pbx.test")
    await alice.event("CALL_ESTABLISHED")
    assert leg.user == "alice"
    assert server.snapshot()["logins"]["ok"] >= 1
    await leg.hangup()
    await alice.event("CALL_CLOSED")


async def test_a_wrong_password_stays_out(server: rtpmix.Server, phones: Phones) -> None:
    await phones("alice", 437.0, registrar=server.sip_address, password="looking-glass")
    async with asyncio.timeout(30):
        while not server.snapshot()["logins"]["wrong"]:  # noqa: ASYNC110 - a counter
            await asyncio.sleep(0.05)
    assert server.contacts("alice") == 0
    assert server.snapshot()["logins"]["ok"] == 0


async def test_hold_and_resume_from_the_phone(server: rtpmix.Server, phones: Phones) -> None:
    """RFC 3264 section 8.4: no audio either way while it lasts, both ways afterwards.

    What the phone gets after the hold is counted: its recorder stops at a hold for good.
    """
    alice, bob = await phones("alice", 437.0), await phones("bob", 1013.0)
    alice_leg = await server.invite(alice.address)
    bob_leg = await server.invite(bob.address)
    await server.bridge(alice_leg, bob_leg)
    assert level_db(await alice.listen(1.0), bob.frequency) > -20
    events = server.events()

    alice.hold()
    await next_event(events, rtpmix.LegHeld, held=True)
    silence = await bob.listen(1.0)
    assert level_db(silence[-4000:], alice.frequency) < -60

    alice.resume()
    await next_event(events, rtpmix.LegHeld, held=False)
    before = alice_leg.stats().sent
    assert level_db((await bob.listen(1.5))[-8000:], alice.frequency) > -20
    assert alice_leg.stats().sent - before > 60


async def test_hold_and_resume_from_here(server: rtpmix.Server, phones: Phones) -> None:
    """RFC 3264 section 8.4: our re-INVITE; the phone answers and falls silent."""
    alice = await phones("alice", 437.0)
    leg = await server.invite(alice.address)
    await leg.hold()
    await leg.resume()
    await server.bridge(leg)
    assert leg.is_open
    await leg.hangup()
    await alice.event("CALL_CLOSED")


async def test_keys_pressed_on_the_phone_arrive_once_each(
    server: rtpmix.Server, phones: Phones
) -> None:
    """RFC 4733: each press is one digit, however many packets carried it."""
    alice = await phones("alice", 437.0)
    leg = await server.invite(alice.address)
    await alice.event("CALL_ESTABLISHED")
    got = ""
    for key in "159*0#":
        alice.press(key)
        got += await asyncio.wait_for(anext(leg.digits()), 30)
    assert got == "159*0#"


async def test_a_phone_that_hangs_up_ends_its_leg(server: rtpmix.Server, phones: Phones) -> None:
    """RFC 3261 section 15."""
    alice = await phones("alice", 437.0)
    leg = await server.invite(alice.address)
    await alice.event("CALL_ESTABLISHED")
    alice.hang_up()
    closed = await asyncio.wait_for(leg.closed(), 30)
    assert closed.cause == "remote-bye"


async def next_event(
    events: AsyncIterator[rtpmix.Event], kind: type[rtpmix.LegHeld], *, held: bool
) -> None:
    """Wait for the event that a leg is held, or no longer is."""
    async with asyncio.timeout(30):
        async for event in events:
            if isinstance(event, kind) and event.held is held:
                return
