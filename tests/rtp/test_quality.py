"""The E-model: the default rating, what delay and loss cost, and the score."""

import pytest

from rtpmix.rtp.quality import DEFAULT_R, delay_impairment, loss_impairment, mos, r_factor


def test_the_default_path_is_rated_93_2_and_scores_4_41() -> None:
    """G.107 section 7.7: all parameters at their default values."""
    assert r_factor(0.0, 0.0) == DEFAULT_R
    assert mos(DEFAULT_R) == pytest.approx(4.41, abs=0.005)


@pytest.mark.parametrize(
    ("rating", "score"), [(90, 4.34), (80, 4.03), (70, 3.60), (60, 3.10), (50, 2.58)]
)
def test_scores_are_those_of_the_table(rating: float, score: float) -> None:
    """G.107 annex B, table B.1: provisional guide between R and MOS."""
    assert mos(rating) == pytest.approx(score, abs=0.01)


@pytest.mark.parametrize(
    ("rating", "score"), [(-3, 1.0), (0, 1.0), (2, 1.0), (100, 4.5), (120, 4.5)]
)
def test_scores_stay_within_their_scale(rating: float, score: float) -> None:
    assert mos(rating) == pytest.approx(score, abs=0.001)


def test_a_tenth_of_a_second_costs_nothing_and_more_costs_more() -> None:
    """G.107 section 7.4: Idd is zero up to 100 ms."""
    assert delay_impairment(100) == 0
    costs = [delay_impairment(ms) for ms in (100, 150, 200, 300, 400, 800)]
    assert costs == sorted(costs)
    assert delay_impairment(400) == pytest.approx(24.1, abs=0.1)


def test_one_percent_of_loss_costs_what_the_robustness_says() -> None:
    """G.107 equation 7-29 with G.113's Bpl of 25.1: 95 * 1 / (1 + 25.1)."""
    assert loss_impairment(0.01) == pytest.approx(95 / 26.1)
    assert loss_impairment(0.0) == 0.0


def test_the_same_loss_in_bursts_costs_more() -> None:
    assert loss_impairment(0.05, burst_ratio=3.0) > loss_impairment(0.05)
