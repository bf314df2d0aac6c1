"""What `lusirag index` and `lusirag info` say of approximate search: how much it finds, language by language."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lusirag.cli.console import note, show_table, size
from lusirag.errors import InvalidArgumentError

if TYPE_CHECKING:
    from lusirag.index import Index


def read_queries(path: Path) -> list[str]:
    """The queries of a file: one a line, or in a .jsonl file the "query" of each object.

    Raises:
        InvalidArgumentError: the file cannot be read, or a line holds no query; names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"--queries {path} cannot be read as UTF-8 text: {error}") from error
    if path.suffix in (".jsonl", ".ndjson"):
        queries = [_query(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    else:
        queries = [line.strip() for line in lines if line.strip()]
    if not queries:
        raise InvalidArgumentError(f"--queries {path} holds no query; give one a line")
    return queries


def _query(path: Path, number: int, line: str) -> str:
    try:
        query = json.loads(line)["query"]
    except (ValueError, KeyError, TypeError):
        query = None
    if not isinstance(query, str) or not query.strip():
        raise InvalidArgumentError(f'--queries {path}, line {number}: it must be an object with a text "query"')
    return query


def measure(index: Index, queries: list[str] | None, target: float | None) -> None:
    """Measure recall where search is approximate and the last measurement does not hold any more."""
    facts = index.info()["ann"]
    if set(facts["structures"]) <= {"exact"}:
        return
    if target is None and queries is None and facts["recall"] is not None and not facts["stale"]:
        return
    record = index.measure_recall(queries, target=target)
    if record.milliseconds is not None and record.milliseconds > facts["latency_ms"]:
        quicker = ["--ann ivf-pq"] if facts["kind"] != "ivf-pq" else []
        quicker += ["a lower --recall"] if target is not None else []
        note(
            f"a query takes {record.milliseconds:.1f} ms here, more than the {facts['latency_ms']:g} of --latency; "
            f"what would be quicker: {', '.join([*quicker, 'more threads'])}"
        )
    if target is not None and record.worst < target:
        worst = record.languages[0].language or "unknown"
        note(
            f"recall: the worst language ({worst}) reaches {record.worst:.3f} and not {target}, however hard is "
            "searched; for more, build with an --ann that keeps more of each vector (hnsw, or flat, which is exact)"
        )


def recall_in_words(facts: dict[str, Any]) -> str:
    """One line about how an index is searched, for people."""
    structures = ", ".join(f"{count} x {name}" for name, count in facts["structures"].items()) or "no segments"
    words = f"{facts['kind']}: {structures}; {size(facts['memory'])} in memory"
    if facts["device"] == "gpu":
        words += ", on a GPU where FAISS can"
    if set(facts["structures"]) <= {"exact"}:
        return words
    if facts["recall"] is None:
        return f"{words}; recall not measured"
    old = ", measured before the last change" if facts["stale"] else ""
    measured = facts["recall_of"]
    taken = "" if measured["milliseconds"] is None else f", {measured['milliseconds']:.1f} ms a query"
    return f"{words}; recall@{measured['k']} of the worst language {facts['recall']:.3f}{taken}{old}"


def show_recall(facts: dict[str, Any]) -> None:
    """Show the recall of each language as a table, worst first."""
    if not facts.get("languages"):
        return
    measured = facts["recall_of"]
    show_table(
        ["language", "queries", "neighbours", f"recall@{measured['k']}", "95 % interval"],
        (
            [
                each["language"] or "unknown",
                f"{each['queries']:,}",
                f"{each['neighbours']:,}",
                f"{each['recall']:.3f}",
                f"{each['low']:.3f} to {each['high']:.3f}",
            ]
            for each in facts["languages"]
        ),
    )
    if facts["stale"]:
        note("recall was measured before the last change of the index; `lusirag index` measures again")
