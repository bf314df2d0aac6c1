import importlib.util
import re
from itertools import pairwise

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from lusirag.errors import InvalidArgumentError, MissingDependencyError, StorageError
from lusirag.evaluation.report.drawing import draw
from lusirag.evaluation.report.plot import _series, plot_table
from lusirag.evaluation.report.table import Table

FEW = Table(
    "Few",
    ("model", "en", "te", "average"),
    (("ours", 40.0, "50.00*", 45.0), ("_$x$_ (paper)", 60.0, None, None)),
)
MANY = Table(
    "Many",
    ("model", *(f"l{at}" for at in range(14)), "average"),
    tuple((f"model {row}", *(50.0 + row + at for at in range(15))) for row in range(6)),
    notes=("A note.",),
)
LONG = Table("Long", ("language", "kind", "ours"), tuple((f"l{at}", "word", 1.0 * at) for at in range(40)))


def drawn(table, muted=()):
    figure = Figure(layout="constrained")
    groups, series = _series(table, muted)
    draw(figure, table.title, groups, series, table.notes)
    figure.draw_without_rendering()
    return figure, figure.axes[0]


@pytest.mark.parametrize(
    ("table", "suffix", "begins"),
    [(FEW, ".png", b"\x89PNG"), (FEW, ".svg", b"<?xml"), (MANY, ".PDF", b"%PDF"), (LONG, ".svg", b"<?xml")],
)
def test_a_picture_is_written_the_same_each_time(tmp_path, table, suffix, begins):
    first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
    plot_table(table, first)
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        plot_table(table, second)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith(begins)
    assert sorted(file.name for file in tmp_path.iterdir()) == [first.name, second.name]


def test_an_older_picture_is_replaced(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    plot_table(FEW, path)
    assert imread(path).shape[1] > 600


def test_few_figures_are_bars_hollow_where_marked():
    _, axes = drawn(FEW)
    found = [bar for bar in axes.patches if bar.get_height() > 1]  # the average's shade is 1 high
    bars = [(round(bar.get_x() + bar.get_width() / 2), bar.get_height(), bar.get_facecolor()) for bar in found]
    assert sorted(height for _, height, _ in bars) == [40, 45, 50, 60]
    assert [height for _, height, face in bars if face == (1, 1, 1, 1)] == [50]
    assert {height: at for at, height, _ in bars} == {40: 0, 60: 0, 50: 1, 45: 2}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["en", "te", "average"]


def test_many_figures_are_dots_in_their_groups():
    _, axes = drawn(MANY)
    dots = [point for row in axes.collections for point in row.get_offsets().tolist()]
    assert len(dots) == 6 * 15
    assert {(round(x), y) for x, y in dots} == {(at, 50 + row + at) for row in range(6) for at in range(15)}
    assert axes.get_xlabel() == "A note."


def test_more_rows_than_columns_are_the_groups_and_words_are_left_out():
    _, axes = drawn(LONG)
    assert [label.get_text() for label in axes.get_yticklabels()] == [f"l{at}" for at in range(40)]
    assert len(axes.collections[0].get_offsets()) == 40


def test_all_names_are_in_the_legend_as_they_are():
    figure, _ = drawn(FEW)
    (legend,) = figure.legends
    assert [text.get_text().strip() for text in legend.get_texts()] == ["ours", "_$x$_ (paper)", "hollow: see * below"]
    assert legend.get_title().get_text() == "Few"


def test_muted_rows_are_grey_and_no_two_rows_look_alike():
    _, series = _series(MANY, ("model 1", "model 4"))
    looks = [(row.colour, row.marker) for row in series]
    assert len(set(looks)) == 6
    grey = [row.name for row in series if re.fullmatch(r"#(..)\1\1", row.colour)]
    assert grey == ["model 1", "model 4"]
    _, series = _series(Table("t", ("m", *"abcdefghijklmnop"), tuple((f"r{at}", *[1.0] * 16) for at in range(14))), ())
    assert len({(row.colour, row.marker) for row in series}) == 14


def test_labels_of_many_languages_do_not_overlap():
    figure, axes = drawn(MANY)
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    legend = figure.legends[0].get_window_extent()
    assert legend.y0 >= axes.get_window_extent().y1
    assert legend.x1 <= figure.bbox.x1


def test_the_settings_of_matplotlib_stay(tmp_path):
    before, backend = dict(mpl.rcParams), mpl.get_backend(auto_select=False)
    plot_table(FEW, tmp_path / "a.svg")
    assert dict(mpl.rcParams) == before
    assert mpl.get_backend(auto_select=False) == backend


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.png.txt"])
def test_other_suffixes_are_refused(tmp_path, name):
    with pytest.raises(InvalidArgumentError, match=r"allowed: \.png, \.svg, \.pdf"):
        plot_table(FEW, tmp_path / name)


@pytest.mark.parametrize("rows", [(), (("ours", None, "?"),)])
def test_a_table_without_figures_is_refused(tmp_path, rows):
    with pytest.raises(InvalidArgumentError, match="'Empty' has no figures to draw"):
        plot_table(Table("Empty", ("model", "en", "te"), rows), tmp_path / "a.png")


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else real(name))
    with pytest.raises(MissingDependencyError, match=r"lusirag\[eval\]"):
        plot_table(FEW, tmp_path / "a.png")


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidArgumentError, match=r"nowhere is no folder"):
        plot_table(FEW, tmp_path / "nowhere" / "a.png")


def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError):
        plot_table(FEW, path)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a.png", b"old")]


def test_names_are_no_formulas(tmp_path):
    odd = Table("$\\nothing{$", ("model", "$\\no{$", "te"), (("$\\no{$ _", 40.0, 50.0),), notes=("$\\no{$",))
    plot_table(odd, tmp_path / "a.png")  # as formulas these could not be read


def test_marked_dots_are_hollow():
    marked = Table("Marked", MANY.columns, (("first", "33.00*", *MANY.rows[0][2:]), *MANY.rows[1:]))
    _, axes = drawn(marked)
    hollow = [dots for dots in axes.collections if dots.get_facecolor().tolist() == [[1, 1, 1, 1]]]
    assert [dots.get_offsets()[:, 1].tolist() for dots in hollow] == [[33]]
