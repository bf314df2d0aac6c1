"""lusirag's index beside LangChain's FAISS store and txtai, over the same vectors, texts and metadata.

    pip install langchain-community langchain-core txtai faiss-cpu
    python -m benchmarks.stores
    python -m benchmarks.stores --documents 20000 --stores lusirag txtai --json figures.json

Vectors are those of benchmarks.ann, made once and read from a file, so that encoding costs every store the same. Each
build and each search is a process of its own; searches go by turns for several rounds on a warm disk, their times are
pooled. A query comes alone, wants ten documents with text and metadata, and is asked without a filter, with one that
keeps 1 % (another name each time), and with one and the same such filter again and again.

lusirag    `ann="flat"` (exact) and the default "auto"; no languages identified; compacted after adding.
LangChain  as its documentation makes it: IndexFlatL2 (exact), InMemoryDocstore, documents in batches, save_local. A
           filter is applied to the nearest fetch_k documents: 20 as it comes, 2,000, or all (for 10 queries a round).
txtai      content=True, else its defaults: IVF over the full vectors, SQLite, 100 candidates under a filter, or 2,000;
           SQL that selects text and metadata, too. It takes queries as texts, whose vectors are looked up. "flat" is
           the same with the components "IDMap,Flat" (exact).

NOTE: on a busy machine also run it with OMP_NUM_THREADS=1: with two threads FAISS's flat indexes, which LangChain and
txtai search without a selector, took about two and a half times as long for one query as with one; lusirag's did not.

Recall@10 is the share of the exact ten that came back; documents that are missing count as not found.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.store_kinds import (
    AGAIN,
    ALL,
    DIMENSION,
    FILTER,
    NAMES,
    NO_FILTER,
    SAME,
    STORES,
    TEXT,
    Ask,
    K,
    Query,
    Rows,
    Store,
    queries,
    require,
)

REFERENCE = "lusirag, flat"
SAVED_RESULT = "MEASURED "
WARM_UP, SLOW = 20, 10  # queries before those that are timed; how many are timed of a kind that takes a second each
KINDS = {"lusirag": ["lusirag, flat", "lusirag, auto"], "langchain": ["langchain"], "txtai": ["txtai", "txtai, flat"]}


def main() -> None:
    """Build, search, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--documents", type=int, default=200_000)
    parser.add_argument("--queries", type=int, default=200, help="of each kind and round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of searches, by turns (default: %(default)s)")
    parser.add_argument("--stores", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--json", type=Path, help="write the figures here")
    for hidden in ("--build", "--search", "--folder", "--vectors"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.build or options.search:
        run, store = (build, options.build) if options.build else (search, options.search)
        found = run(STORES[store], Path(options.folder), Path(options.vectors), options.documents, options.queries)
        print(SAVED_RESULT + json.dumps(found))
        return
    from benchmarks.sets import environment

    names = [name for kind in options.stores for name in KINDS[kind]]
    versions = require(names)
    stores = compare(names, options.documents, options.queries, options.rounds)
    for figures in stores.values():
        compared(figures, stores.get(REFERENCE, {}))
    report = {
        "environment": environment() | versions,
        "documents": options.documents,
        "dimension": DIMENSION,
        "queries": options.queries,
        "rounds": options.rounds,
        "stores": stores,
    }
    print(json.dumps({name: value for name, value in report.items() if name != "stores"}, indent=1))
    print(table(stores))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


def compare(names: Sequence[str], documents: int, count: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Build every store, then search them by turns; return the figures of each."""
    with tempfile.TemporaryDirectory() as temporary:
        vectors = Path(temporary) / "vectors"
        write_vectors(vectors, documents + count)
        exact = best(Rows(vectors), documents, count)
        common = ["--vectors", str(vectors), "--documents", str(documents), "--queries", str(count)]
        built, searched = {}, {name: list[dict[str, Any]]() for name in names}
        for name in names:
            folder = Path(temporary) / name
            built[name] = measured("--build", name, "--folder", str(folder), *common)
            files = [(file.relative_to(folder), file.stat().st_size) for file in folder.rglob("*") if file.is_file()]
            built[name]["MB on disk"] = round(sum(size for _, size in files) / 1e6, 1)
            built[name]["pickled MB, which run code when read"] = round(
                sum(size for file, size in files if file.suffix == ".pkl") / 1e6, 1
            )
        for _ in range(rounds):
            for name in names:
                searched[name].append(measured("--search", name, "--folder", str(Path(temporary) / name), *common))
    return {name: built[name] | summary(searched[name], exact) for name in names}


def write_vectors(file: Path, count: int) -> None:
    """Unit vectors of passages in several languages, those of the queries last."""
    from benchmarks.ann import BATCH, LANGUAGES, TOPICS, Cones

    random, encoder = np.random.default_rng(1), Cones()
    languages = random.choice(len(LANGUAGES), count, p=list(LANGUAGES.values()))
    topics = random.integers(0, TOPICS, count)
    with file.open("wb") as out:
        for start in range(0, count, BATCH):
            rows = range(start, min(start + BATCH, count))
            encoder.encode_documents([f"{languages[row]} {topics[row]} {row}" for row in rows]).tofile(out)


def best(rows: Rows, documents: int, count: int) -> dict[str, list[set[str]]]:
    """The ten best documents of each query by exact search, without and with the filters."""
    vectors = rows.read(0, documents)
    found: dict[str, list[set[str]]] = {NO_FILTER: [], FILTER: [], AGAIN: []}
    for query in queries(rows, documents, count):
        scores = vectors @ query.vector  # (documents,)
        for kind, every in ((NO_FILTER, slice(None)), (FILTER, named(query.name)), (AGAIN, named(SAME))):
            kept = np.arange(documents)[every]
            found[kind].append({str(row) for row in kept[np.argsort(-scores[kept], kind="stable")[:K]]})
    return found


def named(name: str) -> slice:
    """The documents that have a name."""
    return slice(int(name.split()[1]), None, NAMES)


def measured(*arguments: str) -> dict[str, Any]:
    """Run this module in another process and return what it measured."""
    print(*arguments[:2], file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "benchmarks.stores", *arguments]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    line = next(line for line in output.splitlines() if line.startswith(SAVED_RESULT))
    figures: dict[str, Any] = json.loads(line.removeprefix(SAVED_RESULT))
    return figures


def build(store: Store, folder: Path, vectors: Path, documents: int, count: int) -> dict[str, Any]:
    """Build an index on disk; imports are done before."""
    del count
    store.load()
    started = time.perf_counter()
    store.build(folder, Rows(vectors), documents)
    seconds = time.perf_counter() - started
    return {"build, s": round(seconds, 1), "build, peak MB": memory()["VmHWM"]}


def search(store: Store, folder: Path, vectors: Path, documents: int, count: int) -> dict[str, Any]:
    """Open an index and ask it everything."""
    rows = Rows(vectors)
    asked = queries(rows, documents, count)
    started = time.perf_counter()
    store.load()
    imported, bare = time.perf_counter(), memory()["VmRSS"]
    asks = store.open(folder, rows, documents)
    asks[NO_FILTER](asked[-1])
    opened = time.perf_counter()
    kinds = {NO_FILTER: answers(store, asks[NO_FILTER], asked)}
    after = memory()
    for kind, ask in asks.items():
        if kind != NO_FILTER:
            kinds[kind] = answers(store, ask, asked[:SLOW] if kind == ALL else asked)
    return {
        "imports": imported - started,
        "open": opened - imported,
        "bare": bare,
        "resident": after["VmRSS"],
        "private": after["RssAnon"],
        "with filters": memory()["VmRSS"],
        "kinds": kinds,
    }


def answers(store: Store, ask: Ask, asked: Sequence[Query]) -> dict[str, Any]:
    """The milliseconds of each query after some to warm up, the documents it found, and how many of them are wrong."""
    taken, found, wrong = [], [], 0
    warm_up = asked[-WARM_UP:] if len(asked) > SLOW else asked[-1:]
    for number, query in enumerate([*warm_up, *asked]):
        started = time.perf_counter()
        answer = ask(query)
        seconds = time.perf_counter() - started
        if number < len(warm_up):
            continue
        taken.append(1e3 * seconds)
        hits = store.read(answer)
        found.append([hit.id for hit in hits])
        for hit in hits:
            stored = (hit.text, hit.name, hit.number)
            wrong += stored != (TEXT.format(hit.id), f"name {int(hit.id) % NAMES}", int(hit.id))
    return {"ms": taken, "found": found, "wrong": wrong}


def memory() -> dict[str, int]:
    """Memory of this process in MB: resident, of that private (the rest are mapped files), and the most there was."""
    status = Path("/proc/self/status").read_text("utf-8")
    return {
        name: round(int(re.findall(rf"{name}:\s*(\d+) kB", status)[0]) * 1024 / 1e6)
        for name in ("VmRSS", "RssAnon", "VmHWM")
    }


def summary(rounds: Sequence[dict[str, Any]], exact: dict[str, list[set[str]]]) -> dict[str, Any]:
    """Put the rounds of one store together."""

    def middle(name: str) -> float:
        return float(statistics.median(each[name] for each in rounds))

    figures: dict[str, Any] = {
        "import, open and first query, s": round(middle("imports") + middle("open"), 2),
        "  of it not imports": round(middle("open"), 3),
        "resident after imports, MB": round(middle("bare")),
        f"resident after {len(exact[NO_FILTER])} queries, MB": round(middle("resident")),
        "  of it not mapped files": round(middle("private")),
        "resident after filters too, MB": round(middle("with filters")),
    }
    for kind in rounds[0]["kinds"]:
        taken: npt.NDArray[np.float64] = np.concatenate([each["kinds"][kind]["ms"] for each in rounds])
        found, wrong = rounds[-1]["kinds"][kind]["found"], rounds[-1]["kinds"][kind]["wrong"]
        right = exact[kind if kind in exact else FILTER][: len(found)]
        shares = [len(best & set(hits)) / len(best) for best, hits in zip(right, found, strict=True)]
        figures[kind] = {
            "p50 ms": round(float(np.median(taken)), 2),
            "p95 ms": round(float(np.quantile(taken, 0.95)), 2),
            "hits": round(statistics.mean(map(len, found)), 2),
            "recall@10": round(statistics.mean(shares), 4),
            "wrong documents": wrong,
        }
    return figures


def compared(figures: dict[str, Any], reference: dict[str, Any]) -> None:
    """Add how many times as long as exact search in lusirag each kind of search takes."""
    for kind in figures:
        if isinstance(figures[kind], dict) and reference:
            as_there = reference[kind if kind in reference else FILTER]["p50 ms"]
            figures[kind][f"p50, times {REFERENCE}"] = round(figures[kind]["p50 ms"] / as_there, 2)


def table(stores: dict[str, dict[str, Any]]) -> str:
    """The figures with a column a store, and a dash where a store has no such kind of search."""
    lines: dict[tuple[str, str], None] = {}
    for figures in stores.values():
        for name, value in figures.items():
            lines |= dict.fromkeys((name, part) for part in (value if isinstance(value, dict) else [""]))
    order = list(dict.fromkeys(name for name, _ in lines))
    width = 2 + max(len(f"{name}, {part}") for name, part in lines)
    text = [" " * width + "".join(f"{name:>15}" for name in stores)]
    for name, part in sorted(lines, key=lambda line: order.index(line[0])):
        values = [figures.get(name, "-") for figures in stores.values()]
        shown = [value.get(part, "-") if isinstance(value, dict) else value for value in values]
        text.append(f"{name}, {part}".removesuffix(", ").ljust(width) + "".join(f"{value!s:>15}" for value in shown))
    return "\n".join(text)


if __name__ == "__main__":
    main()
