"""Identities between servers: for trusted peers, withheld from others, never believed blindly."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import rtpmix
from tests.server.pairs import A, B, Two, play

ANA = rtpmix.CallerIdentity("sip:+4930123@example.net", "Ana", number="+4930123")
HIDDEN = rtpmix.CallerIdentity("sip:+4930123@example.net", "Ana", privacy=frozenset({"id"}))
TRUSTS_B = {"trusted_peers": (f"{B}/32",)}
TRUSTS_A = {"trusted_peers": (f"{A}/32",)}


def test_a_trusted_peer_is_told_who_calls_and_believes_it() -> None:
    """RFC 3325 sections 5 and 7."""

    async def story(two: Two) -> None:
        await two.a.invite(f"sip:bob@{B}", identity=ANA)
        (call,) = two.calls
        assert call.asserted == ANA
        assert (call.caller, call.caller_name) == ("sip:+4930123@example.net", "Ana")
        assert two.legs[0].asserted == ANA

    play(story, TRUSTS_B, TRUSTS_A)


@pytest.mark.parametrize("form", ["remote-party", "both"])
def test_the_older_form_says_the_same(form: str) -> None:
    """draft-ietf-sip-privacy-04."""

    async def story(two: Two) -> None:
        await two.a.invite(f"sip:bob@{B}", identity=HIDDEN)
        asserted = two.calls[0].asserted
        assert asserted is not None
        assert (asserted.uri, asserted.is_private) == (HIDDEN.uri, True)

    play(story, {**TRUSTS_B, "identity_form": form}, TRUSTS_A)


def test_what_a_stranger_asserts_is_removed_and_ignored() -> None:
    """RFC 3325 section 5: only a node in the trust domain is believed."""

    async def story(two: Two) -> None:
        await two.a.invite(f"sip:bob@{B}", identity=ANA)
        assert two.requests("INVITE")[0].headers.get("P-Asserted-Identity")  # it was sent
        (call,) = two.calls
        assert call.asserted is None
        assert call.header("P-Asserted-Identity") is None

    play(story, TRUSTS_B)


def test_from_is_anonymous_and_the_identity_only_for_the_trusted() -> None:
    """RFC 3323 section 4.1.1.3; RFC 3325 section 7."""

    async def story(two: Two) -> None:
        await two.a.invite(f"sip:bob@{B}", identity=HIDDEN)
        (call,) = two.calls
        assert (call.caller, call.caller_name) == ("sip:anonymous@anonymous.invalid", "Anonymous")
        invite = two.requests("INVITE")[0]
        assert invite.headers.get("Privacy") == "id"
        assert b"4930123" not in invite.to_bytes()

    play(story, {}, TRUSTS_A)


def test_every_later_message_of_an_anonymous_call_is_anonymous_too() -> None:
    """RFC 3323 section 4.1.1.3: nothing in the dialog may give the caller away."""

    async def story(two: Two) -> None:
        leg = await two.a.invite(f"sip:bob@{B}", identity=HIDDEN)
        await leg.hold()
        await leg.hangup()
        own = [m for m in two.messages if "anonymous" in str(m.from_.uri)]
        assert len(own) >= 6
        assert not any(b"4930123" in message.to_bytes() for message in two.messages)

    play(story)


def test_an_identity_goes_on_to_the_next_trusted_peer_as_it_came() -> None:
    async def story(two: Two) -> None:
        @two.b.on_invite
        async def onward(call: rtpmix.IncomingCall) -> None:
            assert call.asserted is not None
            await two.b.invite(f"sip:carol@{A}", identity=call.asserted)
            await call.answer()

        told: list[Any] = []

        @two.a.on_invite
        async def carol(call: rtpmix.IncomingCall) -> None:
            told.append(call.asserted)
            leg = await call.answer()
            await leg.closed()

        await two.a.invite(f"sip:bob@{B}", identity=HIDDEN)
        assert told[0].uri == HIDDEN.uri
        assert told[0].is_private

    play(story, TRUSTS_B, TRUSTS_A)


def test_a_trunk_is_trusted_by_its_name() -> None:
    trunk = rtpmix.Trunk(name="b", registrars=(f"sip:{B}",), user="a", register=False)

    async def story(two: Two) -> None:
        await two.a.invite("bob", trunk="b", identity=ANA)
        assert two.calls[0].asserted == ANA

        heard: list[Any] = []

        @two.a.on_invite
        async def back(call: rtpmix.IncomingCall) -> None:
            heard.append(call.asserted)

        with pytest.raises(rtpmix.CallFailed):
            await two.b.invite(f"sip:a@{A}", identity=ANA)
        assert heard == [ANA]

    play(story, {"trunks": (trunk,), "trusted_peers": ("trunk:b",)}, TRUSTS_A)


def test_the_answerer_is_known_by_its_own_assertion() -> None:
    """RFC 3325 section 9.1: it may stand in responses, too."""

    async def story(two: Two) -> None:
        leg = await two.a.invite(f"sip:bob@{B}")
        assert leg.asserted is None

    play(story, TRUSTS_B, TRUSTS_A)


def test_a_connected_identity_is_shown_to_those_who_asked_for_it() -> None:
    """RFC 4916 section 4.3: UPDATE with another From, the tag stays, later requests have it."""

    async def story(two: Two) -> None:
        leg = await two.a.invite(f"sip:bob@{B}")
        assert await two.legs[0].show_identity(ANA)
        await asyncio.sleep(1)
        (told,) = two.of(rtpmix.LegIdentified)
        assert (told.leg, told.sender, told.asserted) == (leg.id, ANA.uri, None)
        (update,) = two.requests("UPDATE")
        assert str(update.from_.uri) == ANA.uri
        assert update.headers.get("P-Asserted-Identity") is None
        await leg.hangup()
        (bye,) = two.requests("BYE")
        assert str(bye.to.uri) == ANA.uri
        assert bye.to.tag == update.from_.tag
        assert not await two.legs[0].show_identity(ANA)  # it is closed

    play(story)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"trusted_peers": ("trunk:nobody",)}, "trunk"),
        ({"trusted_peers": "192.0.2.0/24"}, "tuple"),
        ({"trusted_peers": ("example.net",)}, "network"),
        ({"trusted_peers": ("tls:",)}, "tls:HOST"),
        ({"identity_form": "pai"}, "identity_form"),
        ({"certificate_users": {"sip:a@b": "a"}}, "client_ca"),
        ({"redirects": 99}, "redirects"),
    ],
)
def test_a_setting_that_can_not_be_is_named(setting: dict[str, Any], says: str) -> None:
    with pytest.raises(rtpmix.UsageError, match=says):
        rtpmix.Config(**setting)


def test_a_caller_and_an_identity_exclude_each_other() -> None:
    async def story(two: Two) -> None:
        with pytest.raises(rtpmix.UsageError, match="identity"):
            await two.a.invite(f"sip:bob@{B}", caller=f"sip:a@{A}", identity=ANA)

    play(story)


@pytest.mark.parametrize("trusted", [True, False])
def test_a_trusted_peer_tells_who_took_the_call_and_a_stranger_does_not(trusted: bool) -> None:
    """RFC 4916 section 4.4; RFC 3325 section 5 for requests within a dialog, too."""
    bob = rtpmix.CallerIdentity("sip:bob@example.net", "Bob")

    async def story(two: Two) -> None:
        leg = await two.a.invite(f"sip:bob@{B}")
        await two.legs[0].show_identity(bob)
        await asyncio.sleep(1)
        assert two.requests("UPDATE")[0].headers.get("P-Asserted-Identity")
        assert leg.asserted == (bob if trusted else None)
        (told,) = two.of(rtpmix.LegIdentified)
        assert (told.sender, told.asserted) == (bob.uri, leg.asserted)
        await two.legs[0].hold()  # the same identity again is no news
        assert len(two.of(rtpmix.LegIdentified)) == 1

    play(story, TRUSTS_B if trusted else {}, TRUSTS_A)


def test_a_re_invite_within_a_call_is_no_news_of_its_own() -> None:
    async def story(two: Two) -> None:
        leg = await two.a.invite(f"sip:bob@{B}", identity=ANA)
        await leg.hold()
        await two.legs[0].hold()
        await leg.resume()
        assert two.of(rtpmix.LegIdentified) == []
        assert two.legs[0].asserted == ANA

    play(story, TRUSTS_B, TRUSTS_A)
