"""Session-ID on every message of a call, with both kinds of peer."""

from __future__ import annotations

import re

import pytest

from rtpmix.sip.message import Request, Response, parse_message
from rtpmix.sip.session_id import NIL, SessionId, derived, is_uuid, read_session_id
from tests.sip.agents import ALICE, OFFER, Bob, Pair, live, raw

THEIRS = "ab30317f1a784dc48ff824d0d3715d86"
OTHERS = "47755a9de7794ba387653f2099600ef2"


def ids(pair: Pair) -> list[tuple[str, str]]:
    """Return start line and Session-ID of each message on the wire."""
    found = []
    for sent in pair.log:
        first = sent.data.split(b"\r\n")[0].decode().removesuffix(" SIP/2.0")
        message = parse_message(sent.data)
        found.append((first.split(" sip:")[0], message.headers.get("Session-ID") or ""))
    return found


def test_every_message_of_a_call_has_the_senders_uuid_first() -> None:
    """RFC 7989 section 10.1: INVITE {A,N}, responses {B,A}, ACK {A,B}, BYE and its 200."""
    pair = Pair(session_ids=True)
    ours, theirs = pair.call()
    pair.bob.bye(theirs, pair.now)
    pair.settle()
    session = dict(ids(pair))
    a = session["INVITE"].partition(";")[0]
    b = session["ACK"].partition("remote=")[2]
    assert is_uuid(a)
    assert is_uuid(b)
    assert a != b
    assert [value for _, value in ids(pair)] == [
        f"{a};remote={NIL}",  # INVITE
        f"{b};remote={a}",  # 100
        f"{b};remote={a}",  # 200
        f"{a};remote={b}",  # ACK
        f"{b};remote={a}",  # BYE
        f"{a};remote={b}",  # 200
    ]
    assert ours


def test_a_cancel_says_what_its_invite_said_and_the_refusal_is_acknowledged_with_both() -> None:
    """RFC 7989 section 6 and 10.8.2."""
    pair = Pair(session_ids=True)
    ours = pair.invite()
    pair.settle()
    pair.alice.cancel(ours, pair.now)
    pair.settle()
    said = ids(pair)
    invite = said[0][1]
    assert [value for line, value in said if line == "CANCEL"] == [invite]
    a = invite.partition(";")[0]
    (ack,) = [value for line, value in said if line == "ACK"]
    assert re.fullmatch(f"{a};remote=[0-9a-f]{{32}}", ack)
    assert not ack.endswith(NIL)
    pair.run(60)
    assert live(pair.alice) == live(pair.bob) == {}


def test_an_attempt_with_credentials_is_of_the_same_session() -> None:
    """RFC 7989 section 6: the UUID is kept when a 4xx leads to another attempt."""
    pair = Pair(session_ids=True)
    pair.invite(credentials=lambda realm: None, session_id=THEIRS)
    pair.settle()
    assert ids(pair)[0][1] == f"{THEIRS};remote={NIL}"


def test_copies_of_a_request_outside_of_a_dialog_get_one_uuid_and_nothing_is_kept() -> None:
    bob = Bob(session_ids=True)
    answers = [
        bob.take(raw("OPTIONS", headers=f"Session-ID: {THEIRS};remote={NIL}"))[0] for _ in range(2)
    ]
    values = {answer.headers.get("Session-ID") for answer in answers}
    assert len(values) == 1
    assert values.pop() == f"{derived_local(answers[0])};remote={THEIRS}"
    assert live(bob.agent) == {}


def derived_local(message: Request | Response) -> str:
    found = read_session_id(message)
    assert found is not None
    return found[0]


def test_a_peer_of_the_old_version_hears_the_one_uuid_that_it_knows() -> None:
    """RFC 7989 section 11: a request without "remote" names the whole dialog."""
    bob = Bob(session_ids=True)
    number, _ = bob.answered(headers=f"Session-ID: {THEIRS}", body=OFFER)
    assert {message.headers.get("Session-ID") for _, _, message in bob.sent} == {THEIRS}
    bob.agent.bye(number, bob.now)
    assert bob.drain()[-1].headers.get("Session-ID") == THEIRS


@pytest.mark.parametrize(
    ("answer", "after"),
    [
        (THEIRS, THEIRS),  # without the remote that we sent
        (f"{THEIRS};remote={NIL}", f"{THEIRS};remote={NIL}"),  # as it came
        (f"{OTHERS};remote={THEIRS}", f"{THEIRS};remote={OTHERS}"),  # by RFC 7989
        (f"{NIL};remote={THEIRS}", f"{THEIRS};remote={NIL}"),  # a proxy that knows nothing
        ("nonsense", f"{THEIRS};remote={NIL}"),
        (f"{OTHERS[:30]};remote={THEIRS}", f"{THEIRS};remote={NIL}"),  # section 6: discarded
        (f"{OTHERS};remote=zz", f"{THEIRS};remote={OTHERS}"),
    ],
)
def test_what_a_response_says_is_understood(answer: str, after: str) -> None:
    """RFC 7989 sections 6 and 11."""
    session = SessionId(THEIRS)
    session.learn(Response.create(200, None, [("Session-ID", answer)]))
    assert session.header == ("Session-ID", after)


def test_the_remote_uuid_may_change_and_a_message_without_one_changes_nothing() -> None:
    """RFC 7989 section 8, as after a transfer behind the peer."""
    pair = Pair(session_ids=True)
    ours, theirs = pair.call()
    pair.bob.reinvite(theirs, OFFER, pair.now, [("X-Later", "1")])
    before = pair.alice.session_id(ours)
    invite = pair.collect()[-1].data
    changed = re.sub(rb"Session-ID: [0-9a-f]{32}", f"Session-ID: {OTHERS}".encode(), invite)
    pair.deliver(ALICE, changed)
    after = pair.alice.session_id(ours)
    assert before is not None
    assert after is not None
    assert (after[0], after[1]) == (before[0], OTHERS)
    assert pair.bob.session_id(theirs) is not None
    pair.deliver(
        ALICE,
        re.sub(rb"Session-ID: [^\r]*\r\n", b"", invite).replace(b"branch=", b"branch=z9hG4bKq"),
    )
    assert pair.alice.session_id(ours) == after


def test_without_the_setting_nothing_is_said() -> None:
    pair = Pair()
    pair.call()
    assert {value for _, value in ids(pair)} == {""}
    assert pair.alice.session_id(1) is None


def test_a_derived_uuid_is_one_and_depends_on_the_secret() -> None:
    """RFC 7989 section 4.1: version 4 of RFC 4122."""
    one, other = derived(b"a", "text"), derived(b"b", "text")
    assert one != other
    assert is_uuid(one)
    assert is_uuid(other)
    assert one[12] == "4"
    assert one[16] in "89ab"
