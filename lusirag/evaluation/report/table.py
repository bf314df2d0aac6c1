"""A table of figures, whatever it is written as."""

from __future__ import annotations

from dataclasses import dataclass

Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings.

    Attributes:
        title: what the figures are, in one line.
        columns: headings; the first column names the rows.
        rows: as many cells each as there are columns; None where there is no figure.
        digits: after the decimal point, of every float.
        notes: lines that stand below.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    digits: int = 3
    notes: tuple[str, ...] = ()
