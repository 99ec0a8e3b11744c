"""rtpmix.sip.nonces: nonces made without memory, counts used once."""

from __future__ import annotations

import random

import pytest

from rtpmix.sip.nonces import Nonces, Use

KEY = bytes(range(32))


def nonces(**changes: float) -> Nonces:
    settings = {"lifetime": 300.0, "limit": 1000.0, **changes}
    return Nonces(KEY, "r", lifetime=settings["lifetime"], limit=int(settings["limit"]))


def test_no_two_nonces_are_the_same_even_at_one_instant() -> None:
    """RFC 7616 section 3.3: uniquely generated each time; each has its own counts."""
    ours = nonces()
    assert len({ours.make(5.0) for _ in range(1000)}) == 1000


def test_an_unused_nonce_costs_no_memory() -> None:
    ours = nonces()
    for _ in range(100):
        ours.make(0.0)
    assert len(ours) == 0


def test_a_nonce_is_good_for_its_lifetime_and_no_longer() -> None:
    """RFC 7616 section 5.4."""
    ours = nonces()
    nonce = ours.make(100.0)
    assert ours.use(nonce, 1, 100.0) is Use.FRESH
    assert ours.use(nonce, 2, 400.0) is Use.FRESH
    assert ours.use(nonce, 3, 400.01) is Use.STALE


def test_a_nonce_of_another_maker_is_stale() -> None:
    ours = nonces()
    nonce = ours.make(1.0)
    assert Nonces(bytes(32), "r", lifetime=300, limit=9).use(nonce, 1, 1.0) is Use.STALE
    assert Nonces(KEY, "other", lifetime=300, limit=9).use(nonce, 1, 1.0) is Use.STALE
    for at in range(len(nonce)):
        digit = "0" if nonce[at] != "0" else "1"
        assert ours.use(nonce[:at] + digit + nonce[at + 1 :], 1, 1.0) is Use.STALE
    for wrong in ("", "x", nonce + "0", nonce[:-1], nonce.upper(), "é" * 56):
        assert ours.use(wrong, 1, 1.0) is Use.STALE


def test_a_nonce_from_the_future_is_stale() -> None:
    ours = nonces()
    assert ours.use(ours.make(10.0), 1, 9.0) is Use.STALE


def test_each_count_is_good_once_in_any_order_within_the_window() -> None:
    """RFC 7616 section 3.4: the same nc seen twice is a replay. Checked against a plain set."""
    chance = random.Random(7616)
    for _ in range(200):
        ours = nonces()
        nonce = ours.make(0.0)
        seen: set[int] = set()
        highest = 0
        for _ in range(60):
            count = max(1, highest + chance.choice([1, 1, 1, 2, 0, -1, -3, -63, -64, -65, 70]))
            known = count in seen or count <= highest - 64
            expected = Use.REPLAYED if known else Use.FRESH
            assert ours.use(nonce, count, 0.0) is expected, (count, highest)
            seen.add(count)
            highest = max(highest, count)


@pytest.mark.parametrize("limit", [1, 2, 10])
def test_a_full_table_forgets_trust_with_the_nonce(limit: int) -> None:
    """However many nonces are used, memory stays bounded and no count is ever good twice."""
    ours = nonces(limit=limit)
    made = [ours.make(at / 10) for at in range(50)]
    used = [nonce for nonce in made if ours.use(nonce, 1, 5.0) is Use.FRESH]
    assert used == made
    assert len(ours) == limit
    assert [ours.use(nonce, 1, 5.0) for nonce in made[:-limit]] == [Use.STALE] * (50 - limit)
    assert [ours.use(nonce, 1, 5.0) for nonce in made[-limit:]] == [Use.REPLAYED] * limit
    assert ours.use(ours.make(5.0), 1, 5.0) is Use.FRESH


def test_expired_entries_leave_without_costing_anybody_trust() -> None:
    ours = nonces(limit=1000, lifetime=10.0)
    for at in range(500):
        assert ours.use(ours.make(float(at)), 1, float(at)) is Use.FRESH
    assert len(ours) <= 12
