"""Tests of `rtpmix.recorder.registry`."""

from __future__ import annotations

import random
from typing import Any

from rtpmix.recorder.manifest import Manifest
from rtpmix.recorder.registry import Registry, ssrc_maker


def make() -> tuple[Registry, Manifest, list[dict[str, Any]]]:
    new_ssrc = ssrc_maker(random.Random(5).randbytes)
    manifest = Manifest(
        conversation_id="c", capture_id="1", suite="s", created=0.0, overflow_csrc=new_ssrc()
    )
    facts: list[dict[str, Any]] = []
    return Registry(manifest, new_ssrc, facts.append), manifest, facts


def test_a_contributors_csrc_is_the_ssrc_of_its_spoken_track() -> None:
    """So that one display filter of tshark proves who heard whom."""
    registry, _, facts = make()
    _, agent, _ = registry.add_leg(2, "agent", "agent", "PCMU")
    _, coach, _ = registry.add_leg(3, "coach", "supervisor", "PCMU")
    assert registry.csrcs((2, 3), 0) == (agent.ssrc, coach.ssrc)
    assert facts == []


def test_a_contributor_that_is_not_recorded_gets_a_csrc_and_a_fact() -> None:
    """An announcement, for example."""
    registry, manifest, facts = make()
    (csrc,) = registry.csrcs((9,), 800)
    assert facts == [{"event": "contributor", "sample": 800, "seat": 9, "csrc": csrc}]
    assert manifest.contributors == {9: csrc}
    _, spoken, _ = registry.add_leg(9, "late", "agent", "PCMU")
    assert spoken.ssrc == csrc


def test_fifteen_contributors_fit() -> None:
    """RFC 3550 section 5.1: a count of four bits."""
    registry, manifest, _ = make()
    csrcs = registry.csrcs(tuple(range(15)), 0)
    assert csrcs == tuple(manifest.contributors[seat] for seat in range(15))


def test_more_than_fifteen_contributors_are_marked_and_listed_in_a_fact() -> None:
    """Fourteen and the overflow mark: silence about the rest would be a false proof."""
    registry, manifest, facts = make()
    csrcs = registry.csrcs(tuple(range(20)), 160)
    assert len(csrcs) == 15
    assert csrcs[-1] == manifest.overflow_csrc
    assert csrcs[:14] == tuple(manifest.contributors[seat] for seat in range(14))
    assert facts[-1] == {
        "event": "contributors",
        "sample": 160,
        "seats": list(range(20)),
        "csrcs": [manifest.contributors[seat] for seat in range(20)],
    }
    before = len(facts)
    registry.csrcs(tuple(range(20)), 320)
    assert len(facts) == before


def test_no_two_tracks_share_name_port_or_ssrc() -> None:
    """Even when legs of one name come and go."""
    registry, manifest, _ = make()
    for seat in [*range(20)] * 2:
        registry.add_leg(seat, "agent", "agent", "PCMU")
    tracks = manifest.tracks
    assert len(tracks) == 80
    assert len({track.name for track in tracks}) == 80
    assert len({track.ssrc for track in tracks}) == 80
    assert len({track.port for track in tracks}) == 80
    assert not any(track.port & 1 for track in tracks)
    assert tracks[2].name == "agent-2.in"


def test_a_seat_that_is_given_again_has_another_csrc() -> None:
    """The second leg on a seat is somebody else."""
    registry, _, _ = make()
    registry.add_leg(4, "coach", "supervisor", "PCMU")
    first = registry.csrcs((4,), 0)
    registry.add_leg(4, "customer", "customer", "PCMU")
    assert registry.csrcs((4,), 0) != first


def test_an_ssrc_is_never_0_or_given_twice() -> None:
    """RFC 3550 section 8: unique within the session."""
    stream = iter([b"\0\0\0\0", b"\0\0\0\1", b"\0\0\0\1", b"\0\0\0\2"])
    make_ssrc = ssrc_maker(lambda size: next(stream))
    assert [make_ssrc(), make_ssrc()] == [1, 2]
