"""What a replay found."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class ReplayReport:
    """What a replay found; frames of all listeners together."""

    equal: int = 0
    different: int = 0
    unrecorded: int = 0  # mixed from something that has no track, or across a gap
    unsettled: int = 0  # differ while the first matrix may still have been ramping in
    seconds_equal: int = 0  # SHA-256 of the mixed frames before encoding
    seconds_different: int = 0
    differences: list[str] = field(default_factory=list)  # the first few
    wide_equal: int = 0  # of what wide legs heard at their own rate
    wide_different: int = 0
    wide_unrecorded: int = 0
    wide_unsettled: int = 0  # differ only where a filter or a limiter remembers what is not here

    @property
    def is_consistent(self) -> bool:
        """Whether nothing differs, and something was compared."""
        differ = self.different or self.seconds_different or self.wide_different
        return not differ and self.equal > 0

    @property
    def lines(self) -> list[str]:
        """The report as text."""
        word = "CONSISTENT" if self.is_consistent else "INCONSISTENT"
        text = [
            f"{word}: {self.equal} frames replayed bit for bit, {self.different} differ, "
            f"{self.unrecorded} have unrecorded parts, {self.unsettled} unsettled at the start; "
            f"{self.seconds_equal} hashes agree, {self.seconds_different} do not"
        ]
        if self.wide_equal or self.wide_different or self.wide_unrecorded or self.wide_unsettled:
            text.append(
                f"  at higher rates: {self.wide_equal} frames replayed bit for bit, "
                f"{self.wide_different} differ, {self.wide_unrecorded} have unrecorded parts, "
                f"{self.wide_unsettled} unsettled"
            )
        return text + [f"  {difference}" for difference in self.differences]
