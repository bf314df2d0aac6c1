"""The quality table of the README and of the model card: lusifer-mini and BM25 on the suite in the package.

    python -m benchmarks.quality            # measure and print
    python -m benchmarks.quality --write    # and put it into these files, between the marks
    python -m benchmarks.quality --check    # fail where a file says something else

The same figures, and others, come from `lusirag eval udhr --languages ...`. Machines differ in how they round 8-bit
sums, so a figure is current as long as one of a language's questions answered otherwise explains it, and the mean of
all is the same.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from tokenizers import Tokenizer

from benchmarks.sets import PAPER_LANGUAGES
from lusirag import Embedder
from lusirag.embedding.catalog import DEFAULT_MODEL, EMBEDDED_MODELS
from lusirag.evaluation import Measure
from lusirag.evaluation.report.formats import markdown
from lusirag.evaluation.report.table import Cell, Table
from lusirag.evaluation.suite.catalog import UDHR
from lusirag.evaluation.suite.rankers import DenseRanker, LexicalRanker, Ranker
from lusirag.evaluation.suite.reading import read_tasks
from lusirag.evaluation.suite.results import Figure, SuiteResults, run_tasks

ROOT = Path(__file__).resolve().parents[1]
FILES = (
    ROOT / "README.md",
    EMBEDDED_MODELS[DEFAULT_MODEL] / "README.md",
    ROOT / "training" / "lusirag_training" / "card" / "README.md",  # from which the model card is written
)
BEGIN, END = "<!-- python -m benchmarks.quality --write -->\n", "<!-- end -->\n"
# The 8-bit model rounds otherwise on another kind of CPU. One of a language's 31 questions may be answered otherwise
# there; on the whole the figures are the same.
TOLERANCE, MEAN_TOLERANCE = 1.1 / 31, 0.006
NDCG, FIRST = Measure("ndcg", 10), Measure("recall", 1)
GROUPS = {
    "udhr, x2en": "13 languages to English",
    "udhr, en2x": "English to 13 languages",
    "udhr, mixed": "English to a pool of 13 languages",
}
_NUMBER = re.compile(r"\d+\.\d+")


def main() -> None:
    """Measure, and print, write or compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--write", action="store_true", help="into README.md and the model card")
    choice.add_argument("--check", action="store_true", help="fail where they are not current")
    options = parser.parse_args()
    measured = measured_text()
    print(measured)
    for file in FILES:
        if options.write:
            file.write_text(with_text(file.read_text("utf-8"), measured), "utf-8")
        elif options.check and (wrong := differences(text_in(file.read_text("utf-8")), measured)):
            sys.exit(f"{file.relative_to(ROOT)} is not current: {wrong[0]}; run python -m benchmarks.quality --write")


def measured_text() -> str:
    """What stands between the marks: two tables in Markdown."""
    embedder = Embedder.load(DEFAULT_MODEL, runtime="onnx")
    tokenizer = Tokenizer.from_file(str(EMBEDDED_MODELS[DEFAULT_MODEL] / "tokenizer.json"))
    rankers: Sequence[Ranker] = (DenseRanker(embedder), LexicalRanker(tokenizer))
    tasks = list(read_tasks(UDHR, languages=PAPER_LANGUAGES))
    outcomes = {ranker.name: run_tasks(ranker, tasks, (NDCG, FIRST)) for ranker in rankers}
    figures = list(SuiteResults(UDHR.name, (NDCG, FIRST), outcomes).figures())
    return f"{markdown(_summary(figures, list(outcomes)))}\n{markdown(_languages(figures))}"


def _summary(figures: Sequence[Figure], models: Sequence[str]) -> Table:
    rows = []
    for group, title in GROUPS.items():
        here = {figure.model: figure.measures for figure in figures if figure.summary and figure.group == group}
        cells: list[Cell] = [title]
        for measure in (NDCG, FIRST):
            cells += [f"{here[model][measure].mean:.3f}" for model in models]
        low, high = here[models[0]][NDCG].low, here[models[0]][NDCG].high
        cells.insert(2, f"{low:.3f} to {high:.3f}")
        rows.append(tuple(cells))
    columns = ("searches", f"{models[0]}, nDCG@10", "95 % interval", f"{models[1]}, nDCG@10")
    return Table(
        "The 31 articles of the Universal Declaration of Human Rights, each searched with the same article in another "
        "language",
        (*columns, *(f"{model}, recall@1" for model in models)),
        tuple(rows),
    )


def _languages(figures: Sequence[Figure]) -> Table:
    model = figures[0].model
    tags = [tag for tag in PAPER_LANGUAGES if tag != UDHR.pivot]
    rows = []
    for direction, title in (("x2en", "to English"), ("en2x", "from English")):
        found = {
            figure.language: figure.measures[NDCG].mean
            for figure in figures
            if figure.model == model and figure.direction == direction and not figure.summary
        }
        rows.append((title, *(found[tag] for tag in tags)))
    return Table(f"{model}, nDCG@10 by language", ("searches", *tags), tuple(rows))


def text_in(content: str) -> str:
    """What stands between the marks of a file.

    Raises:
        SystemExit: it has none.
    """
    return _parts(content)[1]


def with_text(content: str, text: str) -> str:
    """A file's content with another text between its marks."""
    before, _, after = _parts(content)
    return before + text + after


def _parts(content: str) -> tuple[str, str, str]:
    """Up to the first mark, between both, and from the second."""
    before, begin, rest = content.partition(BEGIN)
    text, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"a file has no marks; put {BEGIN.strip()} and {END.strip()} where the table goes")
    return before + begin, text, end + after


def differences(written: str, measured: str) -> list[str]:
    """In which lines a table differs from the measured one by more than `TOLERANCE`, or in its words; or all in all."""
    wrong, apart = [], []
    for one, other in zip_longest(written.splitlines(), measured.splitlines(), fillvalue=""):
        numbers = zip_longest(map(float, _NUMBER.findall(one)), map(float, _NUMBER.findall(other)), fillvalue=-1.0)
        here = [abs(a - b) for a, b in numbers]
        if _NUMBER.sub("#", one) != _NUMBER.sub("#", other) or max(here, default=0) > TOLERANCE:
            wrong.append(f"it says {one!r}, measured is {other!r}")
        else:
            apart += here
    if apart and (mean := sum(apart) / len(apart)) > MEAN_TOLERANCE:
        wrong.append(f"its figures differ from those measured by {mean:.3f} in the mean")
    return wrong


if __name__ == "__main__":
    main()
