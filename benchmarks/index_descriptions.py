"""`lusirag index` on real text, and ten searches in languages that the text is not in.

    python -m benchmarks.index_descriptions --json figures.json
    python -m benchmarks.index_descriptions --limit 500        # a quick look

Indexes the English and German package descriptions of the development sets (ddtp.parquet) as a user would, in a process
of its own, and prints documents and tokens a second, peak memory, the index's size, and what was found.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.sets import environment, require_sets
from lusirag import Index

QUERIES = (
    ("ru", "программа для просмотра файлов PDF"),
    ("ru", "сжатие изображений без потери качества"),
    ("ru", "почтовый клиент для терминала"),
    ("ru", "игра в шахматы против компьютера"),
    ("ko", "동영상 재생 프로그램"),
    ("ko", "비밀번호 관리 도구"),
    ("ko", "파이썬 웹 프레임워크"),
    ("fr", "éditeur de partitions musicales"),
    ("fr", "surveiller le trafic réseau"),
    ("fr", "planétarium et cartes du ciel"),
)


def main() -> None:
    """Index, measure, search, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--limit", type=int, help="documents of each language")
    parser.add_argument("--dtype", help="float32 (as by default) or bfloat16")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    folder = require_sets()
    with tempfile.TemporaryDirectory() as temporary:
        source, directory = Path(temporary) / "descriptions.parquet", Path(temporary) / "index"
        write_descriptions(folder, source, options.limit)
        figures = index(source, directory, options.dtype)
        figures["searches"] = list(search(directory))
    print(environment())
    print(json.dumps(figures, ensure_ascii=False, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, ensure_ascii=False, indent=1) + "\n", "utf-8")


def write_descriptions(folder: Path, target: Path, limit: int | None) -> None:
    """The English and German rows, without the column that says where their parallel texts are."""
    table = pq.read_table(folder / "ddtp.parquet").drop_columns(["parallel_id"])
    parts = [table.filter(pc.equal(table["lang"], language)) for language in ("en", "de")]
    pq.write_table(pa.concat_tables([part.slice(0, limit) if limit else part for part in parts]), target)


def index(source: Path, directory: Path, dtype: str | None) -> dict[str, Any]:
    """Run `lusirag index` and return its own account and the peak memory of its process in MB."""
    command = [sys.executable, "-m", "lusirag", "index", str(source), "--out", str(directory), "--json"]
    done = subprocess.run(command + (["--dtype", dtype] if dtype else []), stdout=subprocess.PIPE, check=True)
    account = json.loads(done.stdout)
    account.pop("index")
    seconds = account["seconds"]
    return account | {
        "documents_per_second": round(account["documents"] / seconds, 1),
        "tokens_per_second": round(account["tokens"] / seconds),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
        "index_mb": round(account["bytes"] / 1e6, 1),
    }


def search(directory: Path) -> Any:
    """Ask the ten questions; three hits each."""
    with Index.open(directory, read_only=True) as opened:
        for (language, query), hits in zip(
            QUERIES, opened.search_many([text for _, text in QUERIES], k=3), strict=True
        ):
            found = [f"{hit.score:.3f} {hit.language} {hit.title}" for hit in hits]
            yield {"language": language, "query": query, "hits": found}


if __name__ == "__main__":
    main()
