"""Replaces and Join: reading them, and which dialogs they find."""

from __future__ import annotations

import pytest

from rtpmix.errors import SipParseError
from rtpmix.sip.dialog_reference import DialogReference, Stage, read_references
from rtpmix.sip.message import Request, parse_message
from tests.sip.agents import BOB, Bob, Pair, raw


def invite(headers: str) -> Request:
    message = parse_message(raw("INVITE", headers=headers))
    assert isinstance(message, Request)
    return message


def test_the_example_of_the_rfc_is_read() -> None:
    """RFC 3891 section 6.1."""
    text = "98732@sip.example.com\t;from-tag=r33th4x0r  ;to-tag=ff87ff"
    assert DialogReference.parse(text) == DialogReference(
        "98732@sip.example.com", "ff87ff", "r33th4x0r"
    )
    early = DialogReference.parse("12adf2f34456gs5;to-tag=12345;from-tag=54321;early-only")
    assert early.early_only
    assert str(early) == "12adf2f34456gs5;to-tag=12345;from-tag=54321;early-only"
    assert DialogReference.parse("a;to-tag=1;from-tag=2;mode=whisper").mode == "whisper"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ";to-tag=1;from-tag=2",
        "a;to-tag=1",
        "a;from-tag=1",
        "a;to-tag=1;to-tag=2;from-tag=3",
        "a;to-tag=1;from-tag=2;from-tag=3",
        "a;to-tag;from-tag=2",
        'a;to-tag="x y";from-tag=2',
        "a b;to-tag=1;from-tag=2",
        "a" * 600 + ";to-tag=1;from-tag=2",
    ],
)
def test_a_reference_without_one_of_each_tag_is_400(text: str) -> None:
    """RFC 3891 section 6.1: exactly one to-tag and exactly one from-tag."""
    with pytest.raises(SipParseError) as failed:
        DialogReference.parse(text)
    assert failed.value.status_hint == 400


GOOD = "a;to-tag=1;from-tag=2"


@pytest.mark.parametrize(
    "headers",
    [
        f"Replaces: {GOOD}\nReplaces: {GOOD}",
        f"Join: {GOOD}\nJoin: {GOOD}",
        f"Join: {GOOD}\nReplaces: {GOOD}",
    ],
)
def test_two_references_in_one_invite_are_400(headers: str) -> None:
    """RFC 3891 section 3, RFC 3911 section 4."""
    with pytest.raises(SipParseError) as failed:
        read_references(invite(headers))
    assert failed.value.status_hint == 400


def test_one_reference_is_told_by_its_kind() -> None:
    assert read_references(invite("")) == (None, None)
    assert read_references(invite(f"Replaces: {GOOD}")).replaces is not None
    assert read_references(invite(f"Join: {GOOD}")).join is not None


def test_a_dialog_is_found_while_it_lives_with_its_stage() -> None:
    pair = Pair()
    ours = pair.invite()
    pair.settle()
    theirs = pair.events(BOB, "Invited")[-1].call
    pair.bob.ring(theirs, pair.now)
    pair.settle()
    ringing = parse_message(pair.sent_by(BOB, "SIP/2.0 180")[0])
    call_id, local, remote = ringing.call_id, ringing.to.tag or "", ringing.from_.tag or ""
    assert pair.bob.find_dialog((call_id, local, remote)) == (theirs, Stage.EARLY_THEIRS)
    assert pair.alice.find_dialog((call_id, remote, local)) == (ours, Stage.EARLY_OURS)
    assert pair.alice.dialog_id(ours) is None
    pair.bob.accept(theirs, pair.now, b"v=0\r\n")
    pair.settle()
    assert pair.bob.find_dialog((call_id, local, remote)) == (theirs, Stage.CONFIRMED)
    assert pair.alice.find_dialog((call_id, remote, local)) == (ours, Stage.CONFIRMED)
    assert pair.alice.dialog_id(ours) == (call_id, remote, local)
    assert pair.alice.find_dialog((call_id, remote, "other")) is None
    pair.alice.bye(ours, pair.now)
    assert pair.alice.find_dialog((call_id, remote, local)) is None
    pair.settle()
    assert pair.bob.find_dialog((call_id, local, remote)) is None


def test_a_dialog_that_a_subscribe_made_is_not_found() -> None:
    """RFC 3891 section 3: one not created with an INVITE is 481."""
    bob = Bob(allow=("INVITE", "SUBSCRIBE"))
    bob.take(raw("SUBSCRIBE", headers="Event: dialog"))
    bob.agent.notifier.accept(bob.told[-1], "text/plain", bob.now)
    answer = bob.drain()[0]
    assert bob.agent.find_dialog(("raw-call-1", answer.to.tag or "", "alice1")) is None
