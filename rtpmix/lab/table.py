"""The live table of calls: who talks to whom, in which mode, who hears whom, for how long.

`render` is pure. Names come from the network and are printed to a terminal: whatever is not
printable is replaced, so that no caller can send it escape sequences.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

HEADINGS = ("CALL", "WHO", "MODE", "WHO HEARS WHOM", "TIME", "REC")
GAP = "  "
MIN_WIDTH = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyView:
    """One leg of a call, as it is shown."""

    name: str
    role: str
    hears: tuple[str, ...] = ()
    mode: str | None = None
    supervision: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallView:
    """One call, as it is shown."""

    call: str
    kind: str
    parties: tuple[PartyView, ...]
    seconds: float
    recording: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what the control socket tells."""
        return {
            "call": self.call,
            "kind": self.kind,
            "seconds": round(self.seconds, 1),
            "recording": self.recording,
            "parties": [
                {
                    "name": party.name,
                    "role": party.role,
                    "hears": list(party.hears),
                    "mode": party.mode,
                    "supervision": party.supervision,
                }
                for party in self.parties
            ],
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> CallView:
        """Read `to_json` back."""
        return cls(
            call=entry["call"],
            kind=entry["kind"],
            seconds=entry["seconds"],
            recording=entry["recording"],
            parties=tuple(
                PartyView(**party | {"hears": tuple(party["hears"])}) for party in entry["parties"]
            ),
        )


def printable(text: str) -> str:
    """Return text that is safe to print: control and formatting characters become "?"."""
    return "".join(char if char.isprintable() else "?" for char in text)


def duration(seconds: float) -> str:
    """Return "1:05" or "2:00:07"."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def render(calls: Sequence[CallView], width: int = 100) -> list[str]:
    """Return the table's lines, none longer than ``width``."""
    width = max(width, MIN_WIDTH)
    if not calls:
        return ["no calls"]
    rows = [row for call in calls for row in _rows(call)]
    widths = [max(len(row[i]) for row in [HEADINGS, *rows]) for i in range(len(HEADINGS))]
    for column in (3, 1):  # what is too long gives way: who hears whom first, then the names
        spare = sum(widths) + len(GAP) * (len(widths) - 1) - width
        widths[column] = max(len(HEADINGS[column]), widths[column] - max(0, spare))
    return [_line(row, widths)[:width] for row in [HEADINGS, *rows]]


def _rows(call: CallView) -> Iterable[tuple[str, ...]]:
    first = True
    for party in call.parties:
        hears = ", ".join(printable(name) for name in party.hears) or "nobody"
        name = printable(party.name)
        yield (
            call.call if first else "",
            f"{name} ({party.role})",
            party.mode or "",
            f"{name} <- {hears}",
            duration(call.seconds) if first else "",
            ("yes" if call.recording else "no") if first else "",
        )
        first = False
    if first:
        yield (call.call, "(nobody)", "", "", duration(call.seconds), "no")


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (_fit(cell, width) for cell, width in zip(row, widths, strict=True))
    return GAP.join(cells).rstrip()


def _fit(cell: str, width: int) -> str:
    return (cell if len(cell) <= width else cell[: width - 1] + "…").ljust(width)


class LiveTable:
    """Prints the table in place on a terminal, and plain lines of what changed elsewhere.

    Parameters
    ----------
    out
        Where to print.
    live
        Whether ``out`` understands cursor movements.
    """

    def __init__(self, out: TextIO, *, live: bool) -> None:
        self._out = out
        self._live = live
        self._drawn = 0
        self._known: dict[str, str] = {}

    def show(self, calls: Sequence[CallView], width: int = 100, height: int = 40) -> None:
        """Show the calls as they are now."""
        if self._live:
            self._redraw(render(calls, width), height)
        else:
            self._tell_changes(calls)
        self._out.flush()

    def say(self, line: str) -> None:
        """Print a line that stays, above the table."""
        if self._live and self._drawn:
            self._out.write(f"\x1b[{self._drawn}F\x1b[J")
            self._drawn = 0
        self._out.write(printable(line) + "\n")
        self._out.flush()

    def _redraw(self, lines: list[str], height: int) -> None:
        # Taller than the screen, the cursor could not go back to the first line.
        room = max(2, height - 1)
        if len(lines) > room:
            lines = [*lines[: room - 1], f"... {len(lines) - room + 1} more lines"]
        up = f"\x1b[{self._drawn}F" if self._drawn else ""
        self._out.write(up + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
        self._drawn = len(lines)

    def _tell_changes(self, calls: Sequence[CallView]) -> None:
        now = {call.call: _summary(call) for call in calls}
        for name, summary in now.items():
            if self._known.get(name) != summary:
                self._out.write(f"{name}: {summary}\n")
        for name in self._known.keys() - now.keys():
            self._out.write(f"{name}: ended\n")
        self._known = now


def _summary(call: CallView) -> str:
    parties = "; ".join(
        f"{printable(party.name)} ({party.mode or party.role})"
        + f" hears {', '.join(printable(name) for name in party.hears) or 'nobody'}"
        for party in call.parties
    )
    return parties or "nobody"
