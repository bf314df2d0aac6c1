"""How a grouped plot looks: bars or dots, across or down, hollow where marked. G groups, S series in each."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from lusirag.evaluation.report.cells import MARK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = ("o", "D", "s", "^", "v", "P", "X")
_AVERAGE = "average"  # a group of this name stands on a shade
_BARS = 42  # figures; more are drawn as dots
_ACROSS = 26  # groups; more stand below one another
_GROUP = 0.8  # of the distance from group to group, taken by its bars
_SHADE = "#F1F1F1"
_LETTER = 0.08  # inches, of a label


class Series(NamedTuple):
    """One row: its name, a figure for each group or None, which are marked, and how it is drawn."""

    name: str
    values: tuple[float | None, ...]
    marked: tuple[bool, ...]
    colour: str
    marker: str


def draw(figure: Figure, title: str, groups: Sequence[str], series: Sequence[Series], notes: Sequence[str]) -> None:
    """Draw on an empty figure and set its size.

    Args:
        figure: with constrained layout.
        title: stands above.
        groups: their G labels.
        series: S, with G values each.
        notes: stand below, in small letters.
    """
    across = len(groups) <= _ACROSS
    bars = len(groups) * len(series) <= _BARS and across
    room = max(0.42, 0.13 * len(series)) * len(groups)
    width = min(max(7.0, room + 0.6), 16) if across else 9.0
    figure.set_size_inches(width, 4.6 if across else 1.8 + 0.2 * len(groups))
    axes = figure.subplots()
    _shade(axes, groups, across=across)
    for place, row in enumerate(series):
        offset = (place - (len(series) - 1) / 2) * _GROUP / len(series)
        if bars:
            _bars(axes, row, offset, _GROUP / len(series))
        else:
            _dots(axes, row, offset, across=across)
    _label_groups(axes, groups, room=width - 0.6, across=across)
    axes.grid(axis="y" if across else "x", color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if notes:
        lines = [line for note in notes for line in textwrap.wrap(note, int(16 * width))]
        axes.set_xlabel("\n".join(lines), loc="left", fontsize=7.5, color="#444444", labelpad=8)
        axes.xaxis.label.set_multialignment("left")
    _legend(figure, title, series, bars=bars)


def _bars(axes: Axes, row: Series, offset: float, width: float) -> None:
    for at, (value, marked) in enumerate(zip(row.values, row.marked, strict=True)):
        if value is not None:
            face = "white" if marked else row.colour
            axes.bar(at + offset, value, width * 0.86, facecolor=face, edgecolor=row.colour, linewidth=0.9)


def _dots(axes: Axes, row: Series, offset: float, *, across: bool) -> None:
    for wanted in (False, True):
        points = [
            (at + offset, value)
            for at, (value, marked) in enumerate(zip(row.values, row.marked, strict=True))
            if value is not None and marked is wanted
        ]
        if points:
            groups, values = zip(*points, strict=True)
            x, y = (groups, values) if across else (values, groups)
            face = "white" if wanted else row.colour
            axes.scatter(x, y, s=30, marker=row.marker, facecolor=face, edgecolor=row.colour, linewidth=1.1, zorder=3)


def _shade(axes: Axes, groups: Sequence[str], *, across: bool) -> None:
    """Lines between the groups, and a shade behind the average, so that the eye keeps a group together."""
    band, line = (axes.axvspan, axes.axvline) if across else (axes.axhspan, axes.axhline)
    for at, name in enumerate(groups):
        if at:
            line(at - 0.5, color="#EBEBEB", linewidth=0.7, zorder=0)
        if name == _AVERAGE:
            band(at - 0.5, at + 0.5, color=_SHADE, linewidth=0, zorder=0)


def _label_groups(axes: Axes, groups: Sequence[str], *, room: float, across: bool) -> None:
    places = range(len(groups))
    if not across:
        axes.set_yticks(places, groups, fontsize=8)
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labeltop=True)
        return
    tilted = max(map(len, groups)) * _LETTER > room / len(groups)
    axes.set_xticks(places, groups, fontsize=9, rotation=35 if tilted else 0, ha="right" if tilted else "center")
    axes.set_xlim(-0.5, len(groups) - 0.5)
    axes.tick_params(axis="x", length=0)


def _legend(figure: Figure, title: str, series: Sequence[Series], *, bars: bool) -> None:
    """The title and, below it, what the signs mean."""
    from matplotlib.lines import Line2D

    def sign(marker: str, colour: str, face: str) -> Line2D:
        return Line2D([], [], linestyle="", marker=marker, markersize=6, markeredgecolor=colour, markerfacecolor=face)

    handles = [sign("s" if bars else row.marker, row.colour, row.colour) for row in series]
    names = [row.name for row in series]
    if any(any(row.marked) for row in series):
        handles.append(sign("s" if bars else "o", "#444444", "white"))
        names.append(f"hollow: see {MARK} below")
    figure.legend(
        handles,
        [f" {name}" for name in names],  # without the space, matplotlib leaves out a name that begins with _
        title=title,
        title_fontproperties={"weight": "bold", "size": 11},
        alignment="left",
        loc="outside upper left",
        ncols=max(1, min(len(names), int(figure.get_figwidth() / (_LETTER * max(map(len, names)) + 0.5)))),
        frameon=False,
        fontsize=9,
        handletextpad=0.2,
    )
