"""The open bridges of a server, by number and by what they are called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .bridge import Bridge


class Bridges:
    """Open bridges; found at the same cost however many there are."""

    def __init__(self) -> None:
        self._by_number: dict[int, Bridge] = {}
        self._by_name: dict[str, Bridge] = {}

    def __len__(self) -> int:
        return len(self._by_number)

    def __iter__(self) -> Iterator[Bridge]:
        """Go through those that are open now, whatever happens to them meanwhile."""
        return iter(tuple(self._by_number.values()))

    def add(self, bridge: Bridge) -> None:
        """Let a bridge be found by its number, its id and its name."""
        self._by_number[bridge.number] = bridge
        for name in (bridge.id, bridge.name):
            if name is not None:
                self._by_name.setdefault(name, bridge)

    def remove(self, number: int) -> None:
        """Let a bridge be found no more; one that is not here is no error."""
        bridge = self._by_number.pop(number, None)
        if bridge is None:
            return
        for name in (bridge.id, bridge.name):
            if name is not None and self._by_name.get(name) is bridge:
                del self._by_name[name]

    def get(self, number: int) -> Bridge | None:
        """Return the bridge of a number, or None."""
        return self._by_number.get(number)

    def find(self, name: str) -> Bridge | None:
        """Return the bridge of that name or id, or None."""
        return self._by_name.get(name)
