"""3xx between servers: told with its contacts, followed by policy, bounded, without loops."""

from __future__ import annotations

from typing import Any

import pytest

import rtpmix
from rtpmix.server import redirecting as redirecting_module
from tests.server.pairs import B, Two, play


def redirecting(two: Two, *contacts: str | tuple[str, float], status: int = 302) -> None:
    """Let b send every call to "moved" elsewhere, and answer the others."""

    @two.b.on_invite
    async def answer(call: rtpmix.IncomingCall) -> None:
        two.calls.append(call)
        if call.target.startswith("moved"):
            await call.redirect(*contacts, status=status)
            return
        if call.target == "busy":
            await call.reject(486)
            return
        leg = await call.answer()
        two.legs.append(leg)
        await leg.closed()


def dialled(two: Two) -> list[str]:
    return [call.target for call in two.calls]


def test_a_redirection_fails_the_call_and_tells_the_contacts_best_first() -> None:
    """RFC 3261 section 21.3; without a policy nothing is followed."""

    async def story(two: Two) -> None:
        redirecting(two, (f"sip:low@{B}", 0.1), (f"sip:high@{B}", 0.9), "tel:+19005550199")
        with pytest.raises(rtpmix.CallFailed) as failed:
            await two.a.invite(f"sip:moved@{B}")
        assert failed.value.status == 302
        assert failed.value.contacts == (f"sip:high@{B}", f"sip:low@{B}")
        assert dialled(two) == ["moved"]

    play(story)


def test_contacts_are_tried_by_q_until_one_answers() -> None:
    """RFC 3261 section 8.1.3.4."""

    async def story(two: Two) -> None:
        two.a.on_transfer(lambda request: request.leg is None)
        redirecting(two, (f"sip:good@{B}", 0.1), (f"sip:busy@{B}", 0.9))
        leg = await two.a.invite(f"sip:moved@{B}")
        assert dialled(two) == ["moved", "busy", "good"]
        assert leg.remote == f"sip:good@{B}"
        followed = two.of(rtpmix.CallRedirected)
        assert [(event.contact, event.followed) for event in followed] == [
            (f"sip:busy@{B}", True),
            (f"sip:good@{B}", True),
        ]
        locals_ = {(m.headers.get("Session-ID") or "")[:32] for m in two.requests("INVITE")}
        assert len(locals_) == 1  # RFC 7989 section 6: redirected, the UUID stays

    play(story, {"redirects": 5})


def test_a_number_that_costs_money_is_not_called_because_a_phone_says_so() -> None:
    """Toll fraud: the policy for transfers judges every contact, closed by default."""

    async def story(two: Two) -> None:
        redirecting(two, f"sip:+19005550199@{B}")
        with pytest.raises(rtpmix.CallFailed) as failed:
            await two.a.invite(f"sip:moved@{B}")
        assert failed.value.status == 302
        assert dialled(two) == ["moved"]
        (refused,) = two.of(rtpmix.CallRedirected)
        assert not refused.followed

    play(story, {"redirects": 5})


def test_a_loop_of_redirections_ends() -> None:
    """RFC 3261 section 8.1.3.4: nobody is called twice."""

    async def story(two: Two) -> None:
        two.a.on_transfer(lambda request: True)
        redirecting(two, f"sip:moved@{B}", f"sip:moved2@{B}")
        with pytest.raises(rtpmix.CallFailed) as failed:
            await two.a.invite(f"sip:moved@{B}")
        assert failed.value.status == 302
        assert dialled(two) == ["moved", "moved2"]

    play(story, {"redirects": 32})


def test_no_more_contacts_are_tried_than_one_call_may() -> None:
    async def story(two: Two) -> None:
        two.a.on_transfer(lambda request: True)

        @two.b.on_invite
        async def onward(call: rtpmix.IncomingCall) -> None:
            two.calls.append(call)
            await call.redirect(f"sip:n{len(two.calls)}@{B}")

        with pytest.raises(rtpmix.CallFailed):
            await two.a.invite(f"sip:moved@{B}", redirects=3)
        assert dialled(two) == ["moved", "n1", "n2", "n3"]

    play(story)


def test_octets_for_the_new_target_come_from_the_redirection() -> None:
    """RFC 7433 section 4.1: the header escaped in the Contact."""

    async def story(two: Two) -> None:
        two.a.on_transfer(lambda request: True)
        redirecting(two, f"sip:good@{B}?User-to-User=0041%3Bencoding%3Dhex&Subject=x")
        await two.a.invite(f"sip:moved@{B}", user_to_user=rtpmix.UserToUser(b"first"))
        assert two.calls[1].user_to_user == (rtpmix.UserToUser(b"\x00A"),)
        assert two.calls[1].header("Subject") is None

    play(story, {"redirects": 1})


def test_a_password_for_one_host_is_not_answered_to_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """RFC 3261 section 22: whoever gets a digest may try passwords against it."""
    placed: list[tuple[str, bool]] = []
    real = redirecting_module.place_call

    async def place(board: Any, target: str, **more: Any) -> rtpmix.Leg:
        placed.append((target, more["credentials"] is not None))
        return await real(board, target, **more)

    monkeypatch.setattr(redirecting_module, "place_call", place)

    async def story(two: Two) -> None:
        two.a.on_transfer(lambda request: True)
        redirecting(two, (f"sip:busy@{B}", 0.9), ("sip:eve@192.0.2.99", 0.5))
        login = rtpmix.Credential("ana", "secret")
        with pytest.raises(rtpmix.CallFailed):
            await two.a.invite(f"sip:moved@{B}", redirects=5, credentials=login, timeout_s=5)
        assert placed == [
            (f"sip:moved@{B}", True),
            (f"sip:busy@{B}", True),
            ("sip:eve@192.0.2.99", False),
        ]

    play(story)


@pytest.mark.parametrize(
    ("contacts", "status"),
    [((), 302), (("sip:a@b",), 305), (("not a uri",), 302), ((("sip:a@b", 2.0),), 302)],
)
def test_a_redirection_that_can_not_be_is_refused_before_anything_is_sent(
    contacts: tuple[str], status: int
) -> None:
    async def story(two: Two) -> None:
        refused: list[bool] = []

        @two.b.on_invite
        async def answer(call: rtpmix.IncomingCall) -> None:
            with pytest.raises(rtpmix.UsageError):
                await call.redirect(*contacts, status=status)
            refused.append(True)
            await call.reject(486)

        with pytest.raises(rtpmix.CallFailed) as failed:
            await two.a.invite(f"sip:bob@{B}")
        assert failed.value.status == 486
        assert refused

    play(story)


def test_a_peer_that_says_when_to_ask_again_is_heard() -> None:
    """RFC 3261 section 20.33: a comment and parameters may follow the seconds."""

    async def story(two: Two) -> None:
        @two.b.on_invite
        async def busy(call: rtpmix.IncomingCall) -> None:
            if call.target == "busy":
                await call.reject(486, retry_after=120)
            else:
                leg = await call.answer()
                await leg.closed()

        with pytest.raises(rtpmix.CallFailed) as failed:
            await two.a.invite(f"sip:busy@{B}")
        assert (failed.value.status, failed.value.retry_after) == (486, 120)
        await two.a.invite(f"sip:bob@{B}")
        with pytest.raises(rtpmix.CallFailed) as failed:
            await two.a.invite(f"sip:bob@{B}")
        assert (failed.value.status, failed.value.retry_after) == (503, 5)

    play(story, {}, {"max_calls": 1})
