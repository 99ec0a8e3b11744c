"""The directive ``state-table``: a state machine's table, read from the code that runs it."""

from __future__ import annotations

import enum
import importlib
from collections.abc import Iterable, Sequence
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

HEADINGS = ("State", "Input", "Next state", "Actions")


def words(member: enum.Enum) -> str:
    return member.name.replace("_", " ").capitalize()


def rows(table: dict[tuple[enum.Enum, enum.Enum], Any]) -> Iterable[tuple[str, str, str, str]]:
    """Yield a machine's rows; each step has a state, whatever the machine calls it, and actions."""
    for (state, what), step in table.items():
        after = next(value for name in ("state", "phase") if (value := getattr(step, name, None)))
        actions = ", ".join(action.replace("_", " ") for action in step.actions)
        yield words(state), words(what), words(after) if after is not state else "", actions


class StateTable(SphinxDirective):
    """``{state-table} module:NAME`` shows the table of that name."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        module, _, name = self.arguments[0].partition(":")
        machine = getattr(importlib.import_module(module), name)
        group = nodes.tgroup(cols=len(HEADINGS))
        group += [nodes.colspec(colwidth=1) for _ in HEADINGS]
        group += nodes.thead("", self._row(HEADINGS))
        group += nodes.tbody("", *(self._row(row) for row in rows(machine)))
        return [nodes.table("", group)]

    @staticmethod
    def _row(cells: Sequence[str]) -> nodes.row:
        return nodes.row("", *(nodes.entry("", nodes.paragraph(text=cell)) for cell in cells))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("state-table", StateTable)
    return {"parallel_read_safe": True}
