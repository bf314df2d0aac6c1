import json
import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from lusirag.evaluation.report.cells import is_marked, mark, number
from lusirag.evaluation.report.formats import cell_texts, latex, markdown, records
from lusirag.evaluation.report.latex import escape
from lusirag.evaluation.report.table import Table

TABLE = Table(
    "Means, percent",
    ("model", "en", "sw", "n"),
    (("mini_v1", 57.204, "53.10*", 3), ("other", -0.001, None, 0), ("third", float("nan"), -1.5, None)),
    digits=2,
    notes=("* a part: sw 7 of 8.",),
)
MARKUP = st.sampled_from(" -*|\\`$#&_~^[]{}<>")
WORDS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Cf", "Cn", "Co", "Z"]) | MARKUP)
NOTES = ["1. first", "- dash", "+ plus", "# no heading", "> no quote", "---", "===", "12) x", "* star"]
# What latex.py writes for a sign, and the sign; the longest first.
WRITTEN = {
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\textasciigrave{}": "`",
    r"\textquotesingle{}": "'",
    r"\textquotedbl{}": '"',
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"\textbar{}": "|",
    r"\kern0pt": "",
    **{f"\\{sign}": sign for sign in "&%_#${}"},
    **{f"{{{sign}}}": sign for sign in "[]*"},
}


def rendered_cells(text):
    """The cells that a Markdown renderer makes, and that they hold text only."""
    tokens = MarkdownIt("commonmark").enable("table").enable("strikethrough").parse(text)
    inline = [token for before, token in pairwise(tokens) if before.type in ("th_open", "td_open")]
    assert {child.type for token in inline for child in token.children} <= {"text", "text_special"}
    return ["".join(child.content for child in token.children) for token in inline]


def test_markdown_as_it_is_written():
    assert markdown(TABLE) == (
        "**Means, percent**\n"
        "\n"
        "| model | en | sw | n |\n"
        "| :-- | --: | --: | --: |\n"
        "| mini\\_v1 | 57.20 | 53.10\\* | 3 |\n"
        "| other | 0.00 | – | 0 |\n"
        "| third | – | -1.50 | – |\n"
        "\n"
        "\\* a part: sw 7 of 8.\n"
    )


@settings(deadline=None)
@given(st.lists(WORDS, min_size=2, max_size=2), st.lists(WORDS, min_size=2, max_size=2))
def test_a_markdown_renderer_gives_back_every_cell(columns, row):
    table = Table("t", tuple(columns), (tuple(row),))
    cells = [" ".join(cell.split()) for cell in (*columns, *row)]
    assert rendered_cells(markdown(table)) == cells


@pytest.mark.parametrize("note", NOTES)
def test_a_note_is_a_paragraph_in_markdown(note):
    tokens = MarkdownIt("commonmark").parse(markdown(Table("t", ("a",), (), notes=(note,))))
    assert [token.type for token in tokens[-3:]] == ["paragraph_open", "inline", "paragraph_close"]
    assert "".join(child.content for child in tokens[-2].children) == note


def test_latex_as_it_is_written():
    assert latex(TABLE) == (
        "% needs the packages booktabs\n"
        "\\begin{table}\n"
        "\\centering\n"
        "\\caption{Means, percent}\n"
        "\\begin{tabular}{lrrr}\n"
        "\\toprule\n"
        "model & en & sw & n \\\\\n"
        "\\midrule\n"
        "mini\\_v1 & 57.20 & 53.10{*} & 3 \\\\\n"
        "other & 0.00 & – & 0 \\\\\n"
        "third & – & $-$1.50 & – \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}\n"
        "\\par\\footnotesize {*} a part: sw 7 of 8.\n"
        "\\end{table}\n"
    )


@settings(deadline=None)
@given(WORDS)
def test_latex_reads_back_every_character(words):
    written = escape(words)
    pattern = "|".join(re.escape(command) for command in sorted(WRITTEN, key=len, reverse=True))
    rest = re.sub(pattern, "", written)
    assert not set(rest) & set("&%_#${}~^\\[]*`'\"<>|")
    assert not re.search("--|,,", written)  # TeX makes other signs of them
    assert re.sub(pattern, lambda found: WRITTEN[found[0]], written) == " ".join(words.split())


def test_latex_signs_do_not_melt_together():
    assert escape("a---b") == r"a-\kern0pt-\kern0pt-b"
    assert escape("<<") == r"\textless{}\kern0pt\textless{}"


def test_latex_is_one_line_a_row_whatever_the_cells_hold():
    odd = Table("a\n\nb", ("x\ty", "z"), (("one\r\ntwo\x00\u2028three", "\ud800"),))
    written = latex(odd)
    assert "\\caption{a b}" in written
    assert "x y & z \\\\\n\\midrule\none two three & ? \\\\\n" in written
    written.encode("utf-8")
    markdown(odd).encode("utf-8")


def test_latex_with_many_columns_is_scaled_and_with_many_rows_breaks_over_pages():
    wide = latex(Table("t", tuple("abcdefghi"), (("x", *[1.0] * 8),)))
    assert wide.startswith("% needs the packages booktabs, graphicx\n")
    assert wide.index("\\resizebox{\\textwidth}{!}{%\n\\begin{tabular}{lrrrrrrrr}") < wide.index("\\end{tabular}%\n}\n")
    long = latex(Table("t", ("a", "b"), tuple((f"row {at}", 1.0) for at in range(41))))
    assert "\\begin{longtable}{lr}\n\\caption{t} \\\\\n" in long
    assert "{table}" not in long
    for written in (wide, long, latex(TABLE)):
        opened = re.findall(r"\\begin\{(\w+)\}|\\(begingroup)", written)
        closed = re.findall(r"\\end\{(\w+)\}|\\(endgroup)", written)
        assert [name or "group" for name, _ in opened] == [name or "group" for name, _ in reversed(closed)]
        assert written.count("{") == written.count("}")


def test_records_are_json_with_rounded_numbers():
    assert [json.loads(json.dumps(record, allow_nan=False)) for record in records(TABLE)] == [
        {"table": "Means, percent", "model": "mini_v1", "en": 57.2, "sw": 53.1, "n": 3, "marked": ["sw"]},
        {"table": "Means, percent", "model": "other", "en": 0.0, "sw": None, "n": 0},
        {"table": "Means, percent", "model": "third", "en": None, "sw": -1.5, "n": None},
    ]
    assert str(records(TABLE)[1]["en"]) == "0.0"  # not -0.0


def test_cell_texts_are_what_a_terminal_shows():
    assert cell_texts(TABLE) == [
        ("mini_v1", "57.20", "53.10*", "3"),
        ("other", "0.00", "–", "0"),
        ("third", "–", "-1.50", "–"),
    ]


@settings(deadline=None)
@given(st.floats(-100, 100), st.integers(0, 4))
def test_a_marked_figure_keeps_its_number(value, digits):
    cell = mark(value, digits)
    assert is_marked(cell)
    assert number(cell) == pytest.approx(value, abs=0.51 * 10**-digits)


@pytest.mark.parametrize("cell", ["*", "model*", "57.2", "nan*", "?", None, "57.2**"])
def test_words_are_no_marked_figures(cell):
    assert not is_marked(cell)
    assert number(cell) is None
