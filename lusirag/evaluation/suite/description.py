"""Which searches a folder of Parquet files holds: what its suite.toml says, or what the files' columns suggest.

A file of parallel texts has the columns `id`, `lang` (or `language`), `text` and `parallel_id`, the same for one text
in all languages, and may have `title`. A file of questions has `role` (query or doc), `id`, `lang`, `text`, and
`doc_parallel_id`, by which a question names its passage; `set` tells several apart.

A suite.toml in the folder, or one given in its place, names the sets itself:

    folder = "../data"          # where the files are; the folder of suite.toml when left out
    pivot = "en"                # the language on one side of x2en and en2x

    [[set]]
    name = "ddtp_synopsis"
    file = "ddtp.parquet"
    query = "title"             # or "text": what is searched with
    min_words = 20              # of the text in the pivot language
    max_items = 2000            # of a task, taken by a hash of their parallel_id; 0 for all
    item = "parallel_id"        # the column that is the same for one text in all languages
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lusirag.errors import CorpusError, InvalidArgumentError

SUITE_FILE = "suite.toml"
PARALLEL_COLUMNS = ("id", "text", "parallel_id")
QUESTION_COLUMNS = ("role", "id", "text", "doc_parallel_id")
LANGUAGE_COLUMNS = ("lang", "language")
QUERIES = ("text", "title")


@dataclass(frozen=True, slots=True)
class SetDescription:
    """One set of searches in one file.

    Attributes:
        name: in tables. file: the Parquet file.
        query: "text" (the text in one language finds it in another), "title" (a title finds its text), or "question".
        min_words: least words, by white space, of a text in the pivot language.
        max_items: most items of a task; 0 for all.
        set: of a file with several question sets, which. item: the column that is the same for one text in all
            languages.
    """

    name: str
    file: Path
    query: str
    min_words: int = 5
    max_items: int = 2000
    set: str | None = None
    item: str = "parallel_id"


@dataclass(frozen=True, slots=True)
class SuiteDescription:
    """Sets that are evaluated together.

    Attributes:
        name: in tables. sets: each name once. pivot: tag of the language on one side of the bilingual searches.
    """

    name: str
    sets: tuple[SetDescription, ...]
    pivot: str = "en"


def describe_suite(path: Path) -> SuiteDescription:
    """Read what a suite consists of.

    Args:
        path: a folder of Parquet files, one such file, or a suite.toml.

    Raises:
        CorpusError: there is nothing, or no file has the columns of a suite.
        InvalidArgumentError: suite.toml says something that is not allowed.
    """
    if path.suffix == ".toml" and path.is_file():
        return _from_toml(path)
    if (path / SUITE_FILE).is_file():
        return _from_toml(path / SUITE_FILE)
    files = [path] if path.is_file() else sorted(path.glob("*.parquet"))
    if not files:
        raise CorpusError(f"{path}: no Parquet file there; give a folder of them, one of them, or a suite.toml")
    sets = [found for file in files for found in _suggested(file)]
    if not sets:
        raise CorpusError(
            f"{path}: no file has the columns of a suite; parallel texts have {', '.join(PARALLEL_COLUMNS)} and lang, "
            f"questions {', '.join(QUESTION_COLUMNS)} and lang"
        )
    names = [found.name for found in sets]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise CorpusError(
            f"{path}: several sets are called {', '.join(repeated)}; name them in a {SUITE_FILE}, or give one file"
        )
    return SuiteDescription(path.stem if path.is_file() else path.resolve().name, tuple(sets))


def _suggested(file: Path) -> list[SetDescription]:
    """The sets of a file without a description; none where it lacks the columns."""
    names = set(_schema(file).names)
    if not names & set(LANGUAGE_COLUMNS):
        return []
    if names >= set(QUESTION_COLUMNS):
        return [SetDescription(name or file.stem, file, "question", set=name) for name in _question_sets(file, names)]
    if not names >= set(PARALLEL_COLUMNS):
        return []
    found = [SetDescription(file.stem, file, "text")]
    return [*found, SetDescription(f"{file.stem}_title", file, "title")] if "title" in names else found


def _question_sets(file: Path, names: set[str]) -> list[str | None]:
    if "set" not in names:
        return [None]
    found = {str(name) for name in pq.read_table(file, columns=["set"]).column("set").to_pylist() if name is not None}
    return [*sorted(found)] or [None]


def _schema(file: Path) -> pa.Schema:
    try:
        return pq.read_schema(file)
    except (OSError, pa.ArrowInvalid) as error:
        raise CorpusError(f"{file}: not a Parquet file that can be read: {str(error).splitlines()[0]}") from error


def _from_toml(file: Path) -> SuiteDescription:
    try:
        content = tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"{file}: not TOML: {error}") from None
    folder = (file.parent / str(content.pop("folder", "."))).resolve()
    entries, pivot = content.pop("set", []), str(content.pop("pivot", "en"))
    name = str(content.pop("name", folder.name if file.name == SUITE_FILE else file.stem))
    wrong = [f"no setting is called {key!r}; allowed: name, folder, pivot, [[set]]" for key in content]
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise InvalidArgumentError(f"{file}: no [[set]] is given; each needs name, file and query")
    sets = [_read_set(entry, folder, wrong) for entry in entries]
    names = [found.name for found in sets]
    wrong += [f"two sets are called {name!r}" for name in sorted({name for name in names if names.count(name) > 1})]
    if wrong:
        raise InvalidArgumentError(f"{file}: {'; '.join(wrong)}")
    return SuiteDescription(name, tuple(sets), pivot)


def _read_set(entry: dict[str, Any], folder: Path, wrong: list[str]) -> SetDescription:
    """A set of suite.toml; what is not allowed is added to `wrong`."""
    known = {field.name for field in fields(SetDescription)}
    name = str(entry.get("name", "?"))
    wrong += [f"set {name!r} has no {key!r}" for key in ("name", "file", "query") if key not in entry]
    wrong += [f"set {name!r}: no setting is called {key!r}" for key in entry if key not in known]
    query = entry.get("query")
    if "query" in entry and query not in (*QUERIES, "question"):
        wrong.append(f"set {name!r}: query is {query!r}; allowed: text, title, question")
    for key in ("min_words", "max_items"):
        if not isinstance(entry.get(key, 0), int) or entry.get(key, 0) < 0:
            wrong.append(f"set {name!r}: {key} is {entry[key]!r}; a number from 0 is needed")
    file = folder / str(entry.get("file", "?"))
    if "file" in entry and not file.is_file():
        wrong.append(f"set {name!r}: there is no {file}")
    for key in ("set", "item"):
        if not isinstance(entry.get(key, ""), str):
            wrong.append(f"set {name!r}: {key} is {entry[key]!r}; a text is needed")
    given = {key: value for key, value in entry.items() if key in known} | {"name": name, "file": file}
    return SetDescription(**{"query": "text"} | given)
