"""Benchmarks: ratios measured within one run, each held against what the book requires.

``python -m benchmarks`` runs them all. A module here has one function ``rows()`` that measures and gives a list of
`Row`; it compares two ways of doing the same work by turns, on one torch thread, so that a busy machine slows
both down alike.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One measured ratio and its requirement.

    Attributes
    ----------
    what : str
        What was compared, in words.
    ratio : float
        The measured ratio.
    required : float
        The bound that it is held against.
    at_least : bool
        True where the ratio must reach the bound (a speed-up), False where it must not exceed it (a cost).
    """

    what: str
    ratio: float
    required: float
    at_least: bool

    @property
    def ok(self) -> bool:
        """Whether the requirement is met; a ratio of NaN never meets it."""
        return self.ratio >= self.required if self.at_least else self.ratio <= self.required


def as_text(rows: list[Row]) -> str:
    """Lay rows out as a table: what | measured ratio | required | ok."""
    cells = [("what", "measured ratio", "required", "ok")]
    for row in rows:
        bound = f"{'at least' if row.at_least else 'at most'} {row.required:g}"
        cells.append((row.what, f"{row.ratio:.2f}", bound, "yes" if row.ok else "NO"))
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    return "\n".join([lines[0], "-" * (sum(widths) + 6), *lines[1:]])
