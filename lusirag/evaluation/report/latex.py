"""A table for a paper: LaTeX with booktabs."""

from __future__ import annotations

from collections.abc import Iterable

from lusirag.evaluation.report.cells import number, one_line, text, text_columns
from lusirag.evaluation.report.table import Cell, Table

_SIGNS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    '"': r"\textquotedbl{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{sign: f"\\{sign}" for sign in "&%_#${}"},
    # After \\ and \toprule these would be read as arguments.
    **{sign: f"{{{sign}}}" for sign in "[]*"},
}
_LIGATURES = "-,<>"  # two of them would melt into another sign
_WIDE = 8  # columns; more are scaled to the width of the page
_LONG = 40  # rows; more do not fit on one page


def latex(table: Table) -> str:
    r"""Return a table to \input into a document that is set with xelatex or lualatex.

    Its first line names the packages it needs: booktabs, for more than 8 columns graphicx, for more than 40 rows
    longtable. Every character stands for itself, also those that LaTeX gives a meaning.
    """
    return _long(table) if len(table.rows) > _LONG else _short(table)


def _short(table: Table) -> str:
    scaled = len(table.columns) > _WIDE
    lines = [
        f"% needs the packages booktabs{', graphicx' if scaled else ''}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(table.title)}}}",
        *([r"\resizebox{\textwidth}{!}{%"] if scaled else []),
        rf"\begin{{tabular}}{{{_alignment(table)}}}",
        r"\toprule",
        _headings(table),
        r"\midrule",
        *(_line(table, row) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}" + ("%" if scaled else ""),
        *(["}"] if scaled else []),
        *_notes(table),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _long(table: Table) -> str:
    head = [r"\toprule", _headings(table), r"\midrule"]
    lines = [
        "% needs the packages booktabs, longtable; may need a landscape page",
        r"\begingroup",
        r"\scriptsize",
        r"\setlength{\tabcolsep}{3pt}",
        rf"\begin{{longtable}}{{{_alignment(table)}}}",
        rf"\caption{{{escape(table.title)}}} \\",
        *head,
        r"\endfirsthead",
        *head,
        r"\endhead",
        *(_line(table, row) for row in table.rows),
        r"\bottomrule",
        r"\end{longtable}",
        *_notes(table),
        r"\endgroup",
    ]
    return "\n".join(lines) + "\n"


def escape(words: str) -> str:
    """Return text, on one line, in which no character means anything to LaTeX."""
    line = one_line(words)
    parts = []
    for before, sign in zip(" " + line, line, strict=False):
        # NOTE: between two signs {} is not enough, because XeTeX joins what stands on both sides of it.
        apart = r"\kern0pt" if sign == before and sign in _LIGATURES else ""
        parts.append(apart + _SIGNS.get(sign, sign))
    return "".join(parts)


def _alignment(table: Table) -> str:
    words = text_columns(table)
    return "".join("l" if at in words else "r" for at in range(len(table.columns)))


def _headings(table: Table) -> str:
    return _joined(escape(column) for column in table.columns)


def _line(table: Table, row: tuple[Cell, ...]) -> str:
    return _joined(_cell(cell, table.digits) for cell in row)


def _cell(cell: Cell, digits: int) -> str:
    words = escape(text(cell, digits))
    return f"$-${words[1:]}" if words.startswith("-") and number(cell) is not None else words


def _joined(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _notes(table: Table) -> list[str]:
    return [rf"\par\footnotesize {escape(note)}" for note in table.notes]
