"""The searches of a suite, read from its files."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Any

from lusirag.errors import InvalidArgumentError
from lusirag.evaluation.suite.description import SetDescription, SuiteDescription
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
    read = lru_cache(maxsize=2)(read_rows)  # sets of one file stand beside each other

    def rows(described: SetDescription) -> list[dict[str, Any]]:
        return read(described.file, questions=described.query == "question", item=described.item)

    wanted = None if languages is None else _tags(languages, {row["lang"] for each in suite.sets for row in rows(each)})
    for described in suite.sets:
        if described.query == "question":
            yield from question_tasks(rows(described), described, pivot=suite.pivot, languages=wanted)
        else:
            yield from parallel_tasks(rows(described), described, pivot=suite.pivot, languages=wanted, masked=masked)


def _tags(languages: Collection[str], there: Collection[str]) -> set[str]:
    """The tags that are meant, whatever their case."""
    known = {tag.lower(): tag for tag in there}
    if unknown := sorted(tag for tag in languages if tag.lower() not in known):
        raise InvalidArgumentError(
            f"there are no texts in {', '.join(unknown)}; there are in {', '.join(sorted(there))}"
        )
    return {known[tag.lower()] for tag in languages}
