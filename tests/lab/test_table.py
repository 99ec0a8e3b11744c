"""The table of calls: everything on it, in place on a terminal, in lines elsewhere, and safe."""

from __future__ import annotations

import io

import pytest

from rtpmix.lab.table import CallView, LiveTable, PartyView, duration, printable, render

CALL = CallView(
    call="bridge-7",
    kind="queue support",
    seconds=65.2,
    recording="recordings/1",
    parties=(
        PartyView(name="dora", role="customer", hears=("alice",)),
        PartyView(name="alice", role="agent", hears=("dora", "coach")),
        PartyView(
            name="coach",
            role="supervisor",
            hears=("dora", "alice"),
            mode="whisper",
            supervision="supervision-9",
        ),
    ),
)
EMPTY = CallView(call="bridge-8", kind="room red", seconds=0, parties=())


def test_a_call_has_a_line_for_each_party() -> None:
    assert render([CALL]) == [
        "CALL      WHO                 MODE     WHO HEARS WHOM        TIME  REC",
        "bridge-7  dora (customer)              dora <- alice         1:05  yes",
        "          alice (agent)                alice <- dora, coach",
        "          coach (supervisor)  whisper  coach <- dora, alice",
    ]
    assert render([]) == ["no calls"]
    assert "(nobody)" in render([EMPTY])[1]


@pytest.mark.parametrize("width", [60, 70, 80, 200])
def test_no_line_is_longer_than_the_terminal(width: int) -> None:
    many = tuple(PartyView(name=f"guest-{n}", role="customer", hears=("x" * 30,)) for n in range(9))
    call = CallView(call="bridge-1", kind="room", seconds=1, parties=many)
    assert max(len(line) for line in render([CALL, call], width)) <= width


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.9, "0:59"), (65, "1:05"), (7207, "2:00:07"), (-1, "0:00")],
)
def test_durations_read_like_a_clock(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("evil", ["\x1b[2J", "a\rb", "a\nb", "\u202egnirts", "\x07", "\x9b1m"])
def test_names_from_the_network_cannot_steer_the_terminal(evil: str) -> None:
    """A display name is whatever a caller sends."""
    party = PartyView(name=evil, role="customer", hears=(evil,))
    call = CallView(call="bridge-1", kind="direct", seconds=1, parties=(party,))
    out = io.StringIO()
    LiveTable(out, live=False).show([call])
    for text in (*render([call]), out.getvalue().rstrip("\n"), printable(evil)):
        assert text.isprintable()


def test_on_a_terminal_the_table_is_drawn_over_itself() -> None:
    out = io.StringIO()
    table = LiveTable(out, live=True)
    table.show([CALL])
    table.show([])
    first, second = out.getvalue().split("\x1b[4F")
    assert first.count("\n") == 4
    assert second == "no calls\x1b[K\n\x1b[J"


def test_a_line_that_stays_goes_above_the_table() -> None:
    out = io.StringIO()
    table = LiveTable(out, live=True)
    table.show([])
    table.say("recorded")
    table.show([])
    assert out.getvalue().endswith("\x1b[1F\x1b[Jrecorded\nno calls\x1b[K\n\x1b[J")


def test_a_table_taller_than_the_screen_is_cut() -> None:
    out = io.StringIO()
    LiveTable(out, live=True).show([CALL] * 20, height=10)
    assert out.getvalue().count("\n") == 9
    assert "more lines" in out.getvalue()


def test_elsewhere_only_changes_are_told() -> None:
    out = io.StringIO()
    table = LiveTable(out, live=False)
    for calls in ([CALL], [CALL], [], []):
        table.show(calls)
    assert out.getvalue().splitlines() == [
        "bridge-7: dora (customer) hears alice; alice (agent) hears dora, coach; "
        "coach (whisper) hears dora, alice",
        "bridge-7: ended",
    ]
    assert "\x1b" not in out.getvalue()


def test_views_survive_the_control_socket() -> None:
    assert CallView.from_json(CALL.to_json()).parties == CALL.parties
