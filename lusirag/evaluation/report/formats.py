"""A table as text for other programs: Markdown, LaTeX (in latex.py), one JSON object a row."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lusirag.evaluation.report.cells import is_marked, number, one_line, text, text_columns
from lusirag.evaluation.report.latex import latex
from lusirag.evaluation.report.table import Cell, Table

__all__ = ["cell_texts", "latex", "markdown", "records"]

# All that CommonMark or a table of GitHub's may take for markup inside a line, and what may only begin one.
_MARKUP = re.compile(r"([\\|`*_{}\[\]<>#~$&])")
_BEGINNING = re.compile(r"^(\d{0,9})([-+=.)])(?=[-+=\s]|$)")


def cell_texts(table: Table) -> list[tuple[str, ...]]:
    """Return the rows as a person reads them: fixed digits, an en dash where there is no figure."""
    return [tuple(text(cell, table.digits) for cell in row) for row in table.rows]


def markdown(table: Table) -> str:
    """Return a table as GitHub shows it: bold title, words to the left, figures to the right, notes below."""
    words = text_columns(table)
    lines = [f"**{_escape(table.title)}**", "", _row(table.columns)]
    lines.append("| " + " | ".join(":--" if at in words else "--:" for at in range(len(table.columns))) + " |")
    lines += [_row(cells) for cells in cell_texts(table)]
    for note in table.notes:
        lines += ["", _BEGINNING.sub(r"\1\\\2", _escape(note))]
    return "\n".join(lines) + "\n"


def records(table: Table) -> list[dict[str, Cell | list[str]]]:
    """Return an object a row for JSON lines: {"table": title, column: cell, ..., "marked": [columns]}.

    Numbers are rounded to the table's digits, what is not finite is None. A marked figure is its number, and its column
    stands under "marked", which only rows with marks have.
    """
    return [_record(table, row) for row in table.rows]


def _record(table: Table, row: tuple[Cell, ...]) -> dict[str, Cell | list[str]]:
    record: dict[str, Cell | list[str]] = {"table": table.title}
    for column, cell in zip(table.columns, row, strict=True):
        value = number(cell)
        record[column] = round(value, table.digits) + 0.0 if value is not None and not isinstance(cell, int) else cell
        if isinstance(cell, float) and value is None:
            record[column] = None
    if marked := [column for column, cell in zip(table.columns, row, strict=True) if is_marked(cell)]:
        record["marked"] = list(marked)
    return record


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(_escape(cell) for cell in cells) + " |"


def _escape(words: str) -> str:
    return _MARKUP.sub(r"\\\1", one_line(words))
