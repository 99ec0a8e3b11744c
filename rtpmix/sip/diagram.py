"""The transaction machines drawn from their tables, for the documentation.

``python -m rtpmix.sip.diagram`` prints them all as Mermaid state diagrams in Markdown.
"""

from __future__ import annotations

from .client_transaction import INVITE_CLIENT, NON_INVITE_CLIENT
from .server_transaction import INVITE_SERVER, NON_INVITE_SERVER
from .transaction import State, Table

# Title, table, first state, and where it comes from.
MACHINES: tuple[tuple[str, Table, State, str], ...] = (
    (
        "INVITE client transaction",
        INVITE_CLIENT,
        State.CALLING,
        "RFC 3261 figure 5, RFC 6026 figure 5",
    ),
    ("Non-INVITE client transaction", NON_INVITE_CLIENT, State.TRYING, "RFC 3261 figure 6"),
    (
        "INVITE server transaction",
        INVITE_SERVER,
        State.PROCEEDING,
        "RFC 3261 figure 7, RFC 6026 figure 7",
    ),
    (
        "Non-INVITE server transaction",
        NON_INVITE_SERVER,
        State.TRYING,
        "RFC 3261 figure 8, RFC 4320",
    ),
)


def mermaid(table: Table, first: State) -> str:
    """Return a table as a Mermaid state diagram, one arrow a row."""
    lines = ["stateDiagram-v2", f"    [*] --> {first.value}"]
    for (state, what), step in table.items():
        actions = ", ".join(action.replace("_", " ") for action in step.actions) or "-"
        lines.append(f"    {state.value} --> {step.state.value} : {what.value} / {actions}")
    lines.append(f"    {State.TERMINATED.value} --> [*]")
    return "\n".join(lines)


def text(table: Table) -> str:
    """Return a table as aligned text: state, input, next state, actions."""
    rows = [("state", "input", "next state", "actions")]
    rows += [
        (state.value, what.value, step.state.value, ", ".join(step.actions) or "-")
        for (state, what), step in table.items()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join(
            (*(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)), row[3])
        )
        for row in rows
    )


def markdown() -> str:
    """Return the four machines as a page of Markdown."""
    parts = []
    for title, table, first, source in MACHINES:
        parts.append(f"## {title}\n\n{source}\n\n```mermaid\n{mermaid(table, first)}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(markdown())
