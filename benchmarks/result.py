"""What a benchmark found, and how it is shown."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Result:
    """One figure from several runs.

    Parameters
    ----------
    runs
        The figure of each run; `value` is their median.
    floor
        What the least work that could do the same job costs, in the same unit, or None.
    details
        Further figures, shown beside.
    """

    benchmark: str
    unit: str
    runs: tuple[float, ...]
    floor: float | None = None
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The median of the runs."""
        return median(self.runs)

    def facts(self) -> dict[str, Any]:
        """Return the result as a JSON-ready dictionary."""
        facts: dict[str, Any] = {
            "benchmark": self.benchmark,
            "value": _rounded(self.value),
            "unit": self.unit,
            "runs": [_rounded(run) for run in self.runs],
        }
        if self.floor is not None:
            facts["floor"] = _rounded(self.floor)
            facts["ratio"] = _rounded(self.value / self.floor) if self.floor else None
        return facts | self.details

    def to_json(self) -> str:
        """Return one line of JSON."""
        return json.dumps(self.facts())

    def to_table(self) -> str:
        """Return a table for people."""
        rows = [(name, _shown(value)) for name, value in self.facts().items()]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _rounded(number: float) -> float:
    return float(f"{number:.4g}") if abs(number) < 1e4 else round(number, 1)


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(_shown, value))
    if isinstance(value, dict):
        return "  ".join(f"{name}={_shown(item)}" for name, item in value.items())
    return str(value)
