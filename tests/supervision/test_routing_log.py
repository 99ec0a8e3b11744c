"""The routing log folds to the matrix in force, and shows when somebody edited it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rtpmix.errors import UsageError
from rtpmix.supervision import RoutingLog, SupervisedCall, fold, verify_chain


def log_of_three() -> tuple[RoutingLog, list[tuple[int, object]]]:
    """Three people come into a conference, a second apart."""
    call, log, commits = SupervisedCall(), RoutingLog(), []
    for second, seat in enumerate((7, 8, 9)):
        change = call.join(seat)
        assert change.commit is not None
        log.append(second * 8000, change.commit, who="sip:alice@example.com", why=change.why)
        commits.append((second * 8000, change.commit))
    return log, commits


def test_fold_gives_the_matrix_commanded_at_every_sample() -> None:
    log, commits = log_of_three()
    assert fold(log.entries, -1) == ((), ())
    for sample, routing in commits:
        for at in (sample, sample + 1, sample + 7999):
            assert fold(log.entries, at) == (routing.seats, routing.gains)
    assert fold(log.entries, 10**9)[0] == (7, 8, 9)


def test_the_last_of_two_commits_at_one_sample_was_in_force() -> None:
    log, _ = log_of_three()
    last = SupervisedCall()
    change = last.join(1)
    assert change.commit is not None
    log.append(16000, change.commit)
    assert fold(log.entries, 16000)[0] == (1,)


def test_a_whole_log_verifies() -> None:
    log, _ = log_of_three()
    assert verify_chain(log.entries, log.head) is None
    assert verify_chain((), RoutingLog().head) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sample", 1),
        ("who", "sip:mallory@example.com"),
        ("why", ""),
        ("seats", (7,)),
        ("gains", ()),
    ],
)
def test_an_edited_entry_is_found(field: str, value: object) -> None:
    log, _ = log_of_three()
    entries = list(log.entries)
    entries[1] = replace(entries[1], **{field: value})
    assert verify_chain(entries) == 1
    entries[1] = replace(entries[1], digest=entries[1].computed_digest())
    assert verify_chain(entries) == 2  # resealed: then the next one no longer fits


def test_dropped_and_swapped_entries_are_found() -> None:
    log, _ = log_of_three()
    first, second, third = log.entries
    assert verify_chain((first, third)) == 1
    assert verify_chain((second, first, third)) == 0
    assert verify_chain((first, second)) is None  # a cut end needs the head
    assert verify_chain((first, second), log.head) == 2


def test_commits_are_appended_in_the_order_of_the_media_clock() -> None:
    log, commits = log_of_three()
    with pytest.raises(UsageError, match="order"):
        log.append(15999, commits[0][1])
