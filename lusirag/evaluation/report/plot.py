"""A table as a picture: a group of bars or dots a column, one a row (drawn by drawing.py)."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lusirag.errors import InvalidArgumentError, MissingDependencyError
from lusirag.evaluation.report.cells import is_marked, number, one_line, text_columns
from lusirag.evaluation.report.drawing import MARKERS, Series, draw
from lusirag.evaluation.report.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
# Okabe and Ito's colours, which people with colour blindness tell apart; greys for muted rows.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
_GREYS = ("#4D4D4D", "#9A9A9A", "#6F6F6F", "#B8B8B8")
# The user's own settings have no say, so that the same table gives the same bytes: matplotlib's, and these.
_SETTINGS: dict[str, Any] = {"svg.hashsalt": "lusirag", "text.parse_math": False}


def plot_table(table: Table, path: Path, *, muted: Collection[str] = ()) -> None:
    """Draw a table.

    Columns of words are left out. Few figures are bars, many are dots; marked ones are hollow, and the notes stand
    below. Where there are more rows than columns, rows are the groups.

    Args:
        table: with a figure at least.
        path: ends in .png, .svg or .pdf; written in one step.
        muted: names of rows to be drawn in grey, such as published ones.

    Raises:
        InvalidArgumentError: the suffix is another, the folder is not there, or the table has no figures.
        MissingDependencyError: matplotlib is not installed.
        StorageError: the file system refuses.
    """
    require_picture(path)
    groups, series = _series(table, muted)
    if all(value is None for row in series for value in row.values):
        raise InvalidArgumentError(f"the table {table.title!r} has no figures to draw; give one with numbers")
    from matplotlib import style
    from matplotlib.figure import Figure

    from lusirag.index.files import replace_file

    with style.context(["default", _SETTINGS]):  # every setting is given back at its end
        figure = Figure(layout="constrained")
        draw(figure, table.title, groups, series, table.notes)
        content = _file(figure, path.suffix.lower().removeprefix("."))
    replace_file(path, content)


def require_picture(path: Path) -> None:
    """Refuse what cannot be drawn, before anything is measured for it.

    Raises:
        InvalidArgumentError: the suffix is no picture's, or there is no such folder.
        MissingDependencyError: matplotlib is not installed.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InvalidArgumentError(f"{path} is no picture that can be drawn; allowed: {', '.join(SUFFIXES)}")
    if not path.parent.is_dir() or path.is_dir():
        wrong = f"{path} is a folder" if path.is_dir() else f"{path.parent} is no folder"
        raise InvalidArgumentError(f"{wrong}; give another place for the picture")
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingDependencyError(
            'drawing needs matplotlib, which is not installed; run pip install "lusirag[eval]"'
        )


def _file(figure: Figure, kind: str) -> bytes:
    """The picture without the time of day."""
    undated: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
    sink = io.BytesIO()
    figure.savefig(sink, format=kind, dpi=160, metadata=undated[kind])
    return sink.getvalue()


def _series(table: Table, muted: Collection[str]) -> tuple[list[str], list[Series]]:
    """The names of the groups, and the rows to draw in them."""
    words = text_columns(table)
    columns = [at for at in range(len(table.columns)) if at not in words]
    names = [one_line(str(row[0])) for row in table.rows]
    groups = [one_line(table.columns[at]) for at in columns]
    cells = [[row[at] for at in columns] for row in table.rows]
    if len(names) > len(_COLOURS) and len(names) > len(groups):
        names, groups, cells = groups, names, [list(column) for column in zip(*cells, strict=True)]
    series = []
    coloured = grey = 0
    for place, (name, row) in enumerate(zip(names, cells, strict=True)):
        is_muted = name in muted
        colours, used = (_GREYS, grey) if is_muted else (_COLOURS, coloured)
        coloured, grey = coloured + (not is_muted), grey + is_muted
        series.append(
            Series(
                name,
                tuple(number(cell) for cell in row),
                tuple(is_marked(cell) for cell in row),
                colours[used % len(colours)],
                MARKERS[place % len(MARKERS)],
            )
        )
    return groups, series
