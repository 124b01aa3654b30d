"""Reports what an import took, dropped and refused, by line, as text for people."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

MAX_LINES = 20  # of each kind; the rest is counted


@dataclass
class Notes:
    """Notes about lines of files: the first few in full, all of them counted by reason."""

    first: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def num(self) -> int:
        """The number of notes."""
        return self.reasons.total()

    def add(self, file: Path, line: int, reason: str, *, detail: str = "") -> None:
        """Note what happened at a line; `detail` is told of the first few, and not counted by."""
        self.reasons[reason] += 1
        if len(self.first) < MAX_LINES:
            more = f" ({detail})" if detail else ""
            self.first.append(f"{file.name}:{line}: {reason}{more}")

    def text(self, verb: str) -> list[str]:
        """Return the first notes as lines of text, and the number of further ones."""
        num_more = self.num - len(self.first)
        shown = [f"  {verb:<9}{line}" for line in self.first]
        return shown + ([f"  {verb:<9}and {num_more} more"] if num_more else [])


@dataclass
class Report:
    """The counts of one import; the set already held `num_known` labels, `num_clips` are new."""

    format: str
    is_dry_run: bool = False
    num_rows: int = 0
    num_pairs: int = 0
    num_points: int = 0
    num_known: int = 0
    num_clips: int = 0
    dropped: Notes = field(default_factory=Notes)
    refused: Notes = field(default_factory=Notes)
    not_kept: Counter[str] = field(default_factory=Counter)
    excluded: Mapping[str, int] = field(default_factory=dict)
    agreement: float | None = None
    num_repeated: int = 0
    num_same_clips: int = 0
    overview: list[str] = field(default_factory=list)
    warm_start: str = ""
    objection: str = ""  # why the import is refused; "" where it is not

    def text(self) -> str:
        """Return the report as a few lines of text."""
        verb = "would take" if self.is_dry_run else "taken"
        lines = [
            f"{self.format}: {self.num_rows} rows",
            f"  {verb}: {self.num_pairs} pairs and {self.num_points} points, {self.num_clips} new "
            f"clips; {self.num_known} labels are there already",
            *self._reasons(),
            *self.dropped.text("dropped"),
            *self.refused.text("refused"),
        ]
        if self.not_kept:
            columns = ", ".join(f"{name} ({num})" for name, num in sorted(self.not_kept.items()))
            lines.append(f"  not used (rows): {columns}")
        if self.excluded:
            counted = ", ".join(f"{num} {reason}" for reason, num in self.excluded.items())
            lines.append(f"  kept, but not used in training: {counted}")
        if self.agreement is not None:
            lines.append(
                f"  agreement with the majority: {self.agreement:.1%} over {self.num_repeated} "
                "questions asked more than once"
            )
        lines += self.overview
        if self.num_same_clips:
            lines.append(
                f"  duplicates: {self.num_same_clips} paths name a clip that another names"
            )
        if self.warm_start:
            lines.append(f"  a warm start {self.warm_start}")
        return "\n".join(lines)

    def _reasons(self) -> list[str]:
        """Return the counts of dropped rows by reason, where there are more than are listed."""
        if self.dropped.num <= MAX_LINES:
            return []
        counts = self.dropped.reasons.most_common()
        return [f"  dropped: {num} for this reason: {reason}" for reason, num in counts]
