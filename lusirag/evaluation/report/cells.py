"""Cells as text and as numbers. A figure that must not be read without the notes is marked text, such as "57.20*"."""

from __future__ import annotations

import math

from lusirag.evaluation.report.table import Cell, Table

MARK = "*"
NOTHING = "–"


def mark(value: float, digits: int) -> str:
    """Return a figure as a marked cell."""
    return f"{_fixed(value, digits)}{MARK}"


def is_marked(cell: Cell) -> bool:
    """Whether a cell holds a marked figure."""
    return isinstance(cell, str) and cell.endswith(MARK) and _number(cell.removesuffix(MARK)) is not None


def number(cell: Cell) -> float | None:
    """Return the number in a cell, marked or not; None where there is none."""
    if isinstance(cell, str):
        return _number(cell.removesuffix(MARK)) if is_marked(cell) else None
    return float(cell) if cell is not None and math.isfinite(cell) else None


def text(cell: Cell, digits: int) -> str:
    """Return a cell as a person reads it, on one line: fixed digits, an en dash for what is None or not finite."""
    if isinstance(cell, str):
        return one_line(cell)
    if cell is None or not math.isfinite(cell):
        return NOTHING
    return _fixed(cell, digits) if isinstance(cell, float) else str(cell)


def one_line(words: str) -> str:
    """Return text without line breaks, control characters and halves of characters (lone surrogates)."""
    seen = "".join(" " if ord(sign) < 32 or 127 <= ord(sign) < 160 else sign for sign in words)
    return " ".join(seen.encode("utf-8", "replace").decode("utf-8").split())


def text_columns(table: Table) -> set[int]:
    """The places of the columns that hold words, not figures: the first, and those with a letter in some cell."""
    words = {
        at
        for row in table.rows
        for at, cell in enumerate(row)
        if isinstance(cell, str) and any(sign.isalpha() for sign in cell)
    }
    return {0} | words


def _fixed(value: float, digits: int) -> str:
    """Fixed digits after the point; what rounds to zero has no sign."""
    shown = f"{value:.{digits}f}"
    return shown.removeprefix("-") if float(shown) == 0 else shown


def _number(words: str) -> float | None:
    try:
        value = float(words)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
