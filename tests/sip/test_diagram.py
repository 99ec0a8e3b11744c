"""The documentation's diagrams are the tables, row by row."""

from __future__ import annotations

import pytest

from rtpmix.sip.diagram import MACHINES, markdown, mermaid, text
from rtpmix.sip.transaction import State, Table


@pytest.mark.parametrize(("title", "table", "first", "source"), MACHINES)
def test_every_row_is_drawn_once(title: str, table: Table, first: State, source: str) -> None:
    arrows = [line for line in mermaid(table, first).splitlines() if " : " in line]
    assert len(arrows) == len(table)
    assert len(set(arrows)) == len(table)
    for (state, what), step in table.items():
        assert any(
            line.startswith(f"    {state.value} --> {step.state.value} : {what.value} /")
            for line in arrows
        )
    assert len(text(table).splitlines()) == len(table) + 1
    assert "RFC 3261" in source
    assert title in markdown()


def test_a_diagram_begins_and_ends_where_the_machine_does() -> None:
    for _, table, first, _ in MACHINES:
        drawn = mermaid(table, first)
        assert f"[*] --> {first.value}" in drawn
        assert "Terminated --> [*]" in drawn
