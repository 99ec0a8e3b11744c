"""The soak, for two minutes; `make soak` carries a day."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.soak import Lap, World, carry, problems, table_sizes


@pytest.fixture(scope="module")
def carried() -> tuple[World, list[Lap], list[str]]:
    return carry(1 / 30, phases=2, laps=4)


def test_nothing_drifts_grows_or_is_left(carried: tuple[World, list[Lap], list[str]]) -> None:
    world, laps, wrong = carried
    assert not wrong
    assert world.calls > 15
    assert world.matrices > 20
    assert world.packets > 50_000
    assert len(laps) == 4
    assert len(laps[0].tables) > 50, "few tables were found: this would pass without looking"
    # 64 kB and the frames, codes and packets of a second.
    assert laps[-1].rss_kb - laps[1].rss_kb < 2048


def test_drift_growth_and_what_is_left_are_seen(
    carried: tuple[World, list[Lap], list[str]],
) -> None:
    world, laps, _ = carried
    left = table_sizes(world.engine)
    slow = replace(laps[-1], delay_ms={"slow": 80.0, "fast": 5.0})
    assert "80.0 ms" in problems(world, [*laps[:-1], slow], left)[0]
    grown = replace(laps[-1], tables=laps[-1].tables | {"engine.rows.of_seat": 5000})
    assert "grew" in problems(world, [*laps[:-1], grown], left)[0]
    assert problems(world, laps, left | {"engine._desk.sources": 1}) == ["1 left in _desk.sources"]
    hours = [replace(lap, hours=6.0 * (n + 1)) for n, lap in enumerate(laps)]
    hours[-1] = replace(hours[-1], mean_delay_ms={"slow": 44.0, "fast": 5.0})
    assert "drifted" in problems(world, hours, left)[0]
