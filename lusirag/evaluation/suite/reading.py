"""The searches of a suite, read from its files."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import lru_cache

from lusirag.errors import InvalidArgumentError
from lusirag.evaluation.suite.description import SuiteDescription
from lusirag.evaluation.suite.parallel import parallel_tasks
from lusirag.evaluation.suite.questions import question_tasks
from lusirag.evaluation.suite.rows import read_rows
from lusirag.evaluation.suite.task import SearchTask


def read_tasks(
    suite: SuiteDescription, *, languages: Collection[str] | None = None, masked: bool = False
) -> Iterator[SearchTask]:
    """All searches of a suite, set by set and language by language.

    Args:
        languages: only those in these languages, and the pools of them; all when None.
        masked: bilingual searches a second time without the Latin words and numbers that both sides share.

    Raises:
        CorpusError: a file cannot be read or lacks columns.
        InvalidArgumentError: a language that no set has.
    """
    rows = lru_cache(maxsize=1)(read_rows)  # sets of one file stand beside each other
    if languages is not None:
        there = {row["lang"] for described in suite.sets for row in rows(described)}
        if unknown := sorted(set(languages) - there):
            raise InvalidArgumentError(
                f"the suite {suite.name} has no texts in {', '.join(unknown)}; it has {', '.join(sorted(there))}"
            )
    for described in suite.sets:
        if described.query == "question":
            yield from question_tasks(rows(described), described, pivot=suite.pivot, languages=languages)
        else:
            yield from parallel_tasks(rows(described), described, pivot=suite.pivot, languages=languages, masked=masked)
