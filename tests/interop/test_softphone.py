"""A softphone's daily life: logging in, being called by name, hold, keys."""

from __future__ import annotations

import asyncio
import dataclasses

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
    async with asyncio.timeout(10):
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
    phone = await phones("alice", 437.0, registrar=server.sip_address, password="looking-glass")
    async with asyncio.timeout(10):
        while not server.snapshot()["logins"]["wrong"]:  # noqa: ASYNC110 - a counter
            await asyncio.sleep(0.05)
    assert server.contacts("alice") == 0
    assert server.snapshot()["logins"]["ok"] == 0
