"""Where checks lead: the path of one leg, in virtual time and without a network."""

from __future__ import annotations

import pytest
from aioice import stun as oracle

from rtpmix.rtp import stun
from rtpmix.sdp.ice import IceCredentials
from rtpmix.server.checked_paths import (
    MOVE_S,
    PROOFS_PER_S,
    REMEMBERED,
    Address,
    CheckCounts,
    CheckedPath,
)
from tests.rtp.test_stun import check

ICE = IceCredentials("ours", "p" * 22)
SAID, SEEN, OTHER, THIEF = (
    ("10.0.0.7", 4000),
    ("203.0.113.9", 61000),
    ("203.0.113.77", 61001),
    ("198.51.100.66", 5),
)


class Story:
    """A path, and what became of checks on it."""

    def __init__(self, signalled: Address | None = SAID) -> None:
        self.path = CheckedPath(ICE)
        self.path.signalled, self.path.open = signalled, True
        self.counts = CheckCounts()

    def says(self, source: Address, now: float, datagram: bytes | None = None) -> bytes | None:
        """Have a check arrive, a new nomination unless it is given; move if it is time to."""
        datagram = check(nominates=True) if datagram is None else datagram
        if source == self.path.remote:
            answer = self.path.check_again(datagram)
        else:
            answer = self.path.check(datagram, source, now, self.counts)
        self.path.move(now)
        return answer


@pytest.mark.parametrize("signalled", [SAID, None], ids=["private", "none"])
def test_a_nomination_from_wherever_it_comes_moves_the_path(signalled: Address | None) -> None:
    """RFC 8445 section 7.3.2; the answer tells the address that is seen (7.3.1.2)."""
    story = Story(signalled)
    assert story.path.remote == signalled
    answer = story.says(SEEN, 0.0)
    assert answer is not None
    read = oracle.parse_message(answer)
    assert read.check_message_integrity(ICE.password.encode())
    assert read.attributes["XOR-MAPPED-ADDRESS"] == SEEN
    assert story.path.remote == SEEN
    assert (story.counts.accepted, story.counts.refused) == (1, 0)


def test_a_check_that_does_not_nominate_is_answered_and_moves_nothing() -> None:
    story = Story()
    assert story.says(SEEN, 0.0, check()) is not None
    assert story.path.remote == SAID


@pytest.mark.parametrize(
    "datagram",
    [
        check("another", nominates=True),
        check(username="stranger:theirs", nominates=True),
        check(username="ours", nominates=True),
        check(nominates=True)[:-4],
        b"\0\1" + bytes(18),
    ],
    ids=["another password", "another name", "half a name", "cut", "empty"],
)
def test_who_does_not_know_the_password_is_refused_and_counted(datagram: bytes) -> None:
    story = Story()
    assert story.says(THIEF, 0.0, datagram) is None
    assert story.path.remote == SAID
    assert not story.path.pending
    assert (story.counts.accepted, story.counts.refused) == (0, 1)


def test_a_later_nomination_moves_the_path_again_and_one_at_a_known_place_does_not() -> None:
    story = Story()
    story.says(SEEN, 0.0)
    assert story.says(SEEN, 5.0) is not None
    assert story.path.remote == SEEN
    story.says(OTHER, 10.0)
    assert story.path.remote == OTHER
    story.says(SAID, 20.0)
    assert story.path.remote == SAID


@pytest.mark.parametrize("first", [SEEN, SAID], ids=["elsewhere", "where media is"])
def test_an_old_nomination_from_another_address_is_refused(first: Address) -> None:
    """The password is its writer's, the source address is not (RFC 8445 section 19.2)."""
    story, old = Story(), check(nominates=True)
    assert story.says(first, 0.0, old) is not None
    assert story.says(THIEF, 60.0, old) is None
    assert story.path.remote == first
    assert story.counts.replayed == 1
    assert (
        story.says(first, 61.0, old) is not None
    )  # sent again by the peer itself (RFC 8489 6.2.1)


def test_a_copy_that_is_faster_than_the_check_itself_is_undone_by_the_next_one() -> None:
    """No lite agent can tell them apart; browsers nominate again every second or two."""
    story, raced = Story(), check(nominates=True)
    story.says(SEEN, 0.0)
    story.says(THIEF, 10.0, raced)
    assert story.path.remote == THIEF
    assert story.says(SEEN, 10.01, raced) is None
    assert story.says(SEEN, 12.5) is not None
    assert story.path.remote == SEEN


def test_a_peer_that_nominates_several_paths_at_once_moves_once_and_settles_on_the_last() -> None:
    story, places = Story(), []
    for number in range(20):
        story.says((SEEN, OTHER)[number % 2], number * 0.02)
        places.append(story.path.remote)
    assert len(set(places)) == 1
    assert story.path.pending
    assert story.path.move(MOVE_S) == OTHER
    assert story.path.remote == OTHER
    assert not story.path.pending


def test_a_flood_of_forged_checks_costs_a_bounded_number_of_hmacs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of somebody who has read the peer's checks, and so knows our name in them."""
    proofs = []
    made = stun._integrity

    def count(before: bytes, password: str) -> bytes:
        proofs.append(password)
        return made(before, password)

    monkeypatch.setattr(stun, "_integrity", count)
    story, forged = Story(), check("another", nominates=True)
    seconds = 10
    for number in range(seconds * 1000):
        story.says(THIEF, number / 1000, forged)
    assert len(proofs) <= PROOFS_PER_S * (seconds + 1)
    assert story.counts.refused == len(proofs)
    assert story.counts.unread == seconds * 1000 - len(proofs)
    assert story.says(SEEN, seconds + 1.0) is not None
    assert story.path.remote == SEEN


def test_checks_for_somebody_else_cost_no_hmac_and_take_no_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    story, wrong, right = Story(), check(username="another:theirs"), check(nominates=True)
    with monkeypatch.context() as patched:
        patched.setattr(stun, "_integrity", None)  # calling it would fail
        for _ in range(1000):
            assert story.says(THIEF, 0.0, wrong) is None
    assert story.counts.refused == 1000
    assert story.says(SEEN, 0.0, right) is not None


def test_of_nominations_a_bounded_number_is_remembered() -> None:
    story = Story()
    for number in range(REMEMBERED + 50):
        story.says(SEEN, number * 2.5)
    assert len(story.path.position().nominations) == REMEMBERED


def test_a_path_goes_on_where_the_leg_went_and_replays_are_known_there() -> None:
    story, old = Story(), check(nominates=True)
    story.says(SEEN, 0.0, old)
    moved = Story()
    moved.path = CheckedPath(ICE, story.path.position())
    moved.path.signalled, moved.path.open = SAID, True
    assert moved.path.remote == SEEN
    assert moved.says(THIEF, 0.0, old) is None
    assert moved.path.remote == SEEN
    assert "p" * 22 not in repr(story.path.position())


def test_another_peer_begins_where_it_was_signalled() -> None:
    """A re-INVITE may bring in somebody else, with another certificate."""
    story = Story()
    story.says(SEEN, 0.0)
    story.path.signalled = OTHER
    assert story.path.remote == SEEN  # the same peer's description moves nothing
    story.path.renew(ICE)
    assert story.path.remote == OTHER


def test_without_one_port_for_both_nothing_moves() -> None:
    """Our description names one component: RTCP's own port is checked by nobody."""
    story = Story()
    story.path.open = False
    assert story.path.check_again(check(nominates=True)) is not None
    assert story.path.move(5.0) is None
    assert story.path.position().chosen is None


ANEW = IceCredentials("news", "q" * 24)


def of_new(*, nominates: bool = True) -> bytes:
    return check(ANEW.password, "news:theirs", nominates=nominates)


def test_when_ice_begins_anew_the_path_stays_until_it_is_nominated_under_the_new_password() -> None:
    """RFC 8445 section 12.1: meanwhile the selected pair is the one before."""
    story = Story()
    story.says(SEEN, 0.0)
    story.path.restart(ANEW)
    story.path.signalled = OTHER
    assert story.path.remote == SEEN
    assert story.says(SEEN, 5.0, check(nominates=True)) is not None  # the peer's consent (RFC 7675)
    assert story.says(OTHER, 5.0, check(nominates=True)) is None
    answer = story.says(OTHER, 5.0, of_new(nominates=False))
    assert answer is not None
    assert oracle.parse_message(answer).check_message_integrity(ANEW.password.encode())
    assert story.path.remote == SEEN
    story.says(OTHER, 6.0, of_new())
    assert story.path.remote == OTHER
    assert story.says(OTHER, 7.0, check()) is None
    assert (story.counts.accepted, story.counts.refused) == (3, 1)


def test_after_two_restarts_in_a_row_the_pair_in_use_is_still_the_first_ones() -> None:
    story = Story()
    story.says(SEEN, 0.0)
    story.path.restart(IceCredentials("between", "b" * 22))
    story.path.restart(ANEW)
    assert story.says(SEEN, 1.0, check()) is not None
    assert story.says(SEEN, 1.0, check("b" * 22, "between:theirs")) is None
    assert story.says(SEEN, 1.0, of_new(nominates=False)) is not None
    moved = Story()
    moved.path = CheckedPath(ANEW, story.path.position())
    moved.path.signalled, moved.path.open = SAID, True
    assert moved.says(SEEN, 2.0, check()) is not None
    assert moved.says(SEEN, 2.0, of_new()) is not None
    assert moved.says(SEEN, 2.0, check()) is None
    assert moved.path.position().former is None


def test_a_nomination_that_waits_for_its_time_is_not_lost_when_ice_begins_anew() -> None:
    story = Story()
    story.says(SEEN, 0.0)
    story.says(OTHER, 0.1)
    assert story.path.remote == SEEN
    story.path.restart(ANEW)
    assert story.path.move(MOVE_S) == OTHER


def test_a_peer_that_gives_ice_up_is_where_it_says() -> None:
    story = Story()
    story.says(SEEN, 0.0)
    story.path.restart(None)
    story.path.open = False
    assert story.path.remote == SAID
    assert story.path.check_again(check()) is None
