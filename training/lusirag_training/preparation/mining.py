"""Hard negatives: documents that a model ranks high for a query and that do not answer it.

For each query the documents are ranked by an embedder; within a window of ranks, those are drawn that stay clearly
below the positive (NV-Retriever: Moreira et al., 2024, "positive-aware mining"). A document is never a negative of a
query that it answers as far as the data tell: the positives of all rows with an equal query, and the query's own text,
are left out.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from lusirag.errors import CorpusError
from lusirag.types import Encoder, Vectors
from lusirag_training.data.columns import kind_of
from lusirag_training.preparation.candidates import REASONS, Pool, build_pool
from lusirag_training.preparation.choosing import Found, choose, within_ranks
from lusirag_training.preparation.embeddings import Embedding, embed_texts
from lusirag_training.preparation.mining_settings import MiningSettings
from lusirag_training.preparation.nearest import Search, open_search
from lusirag_training.preparation.progress import Progress
from lusirag_training.preparation.reranking import Reranker
from lusirag_training.preparation.texts import Keys, key_of
from lusirag_training.preparation.writing import check_target, versions, write_report, write_rows

if TYPE_CHECKING:
    from datasets import Dataset


# Fixed, as FAISS's last bits depend on how many queries come at once.
_QUERIES_AT_ONCE = 512
_BINS = np.linspace(-1.0, 1.0, 41)


def mine(
    pairs: Dataset,
    embedder: Encoder,
    out: str | Path,
    *,
    settings: MiningSettings | None = None,
    corpus: pa.ChunkedArray | None = None,
    instruction: str | None = None,
    reranker: Reranker | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the pairs with hard negatives.

    Args:
        pairs: as `read_set` gives them.
        embedder: ranks the documents. Its vectors are kept in <out>.embeddings/, so that the same run, or one with
            other settings, does not embed again.
        out: .parquet or .jsonl; a report is written beside it.
        settings: how negatives are chosen; `MiningSettings()` when None.
        corpus: texts to mine from; the positives of all pairs when None.
        instruction: for the queries, for models trained with instructions.
        reranker: scores what is within the ranks once more; then the rules about scores use its scores.
        progress: called as progress(step, done, total).

    Returns:
        the report.

    Raises:
        CorpusError: not pairs.
        InvalidArgumentError: `out` or the settings are not allowed.
        StorageError: no space left.
    """
    settings = settings or MiningSettings()
    out = Path(out)
    check_target(out)
    if kind_of(pairs.column_names) != "pairs":
        raise CorpusError("mining needs pairs: query and positive")
    started = time.monotonic()
    pool = build_pool(pairs, corpus)
    folder = out.with_name(f"{out.name}.embeddings")
    documents = embed_texts(
        pool.documents,
        Embedding(embedder.encode_documents, embedder.dimension, f"document {embedder.fingerprint}"),
        folder,
        "documents",
        progress=progress,
    )
    queries = embed_texts(
        pool.queries,
        Embedding(
            lambda texts: embedder.encode_queries(texts, instruction=instruction),
            embedder.dimension,
            f"query {instruction!r} {embedder.fingerprint}",
        ),
        folder,
        "queries",
        progress=progress,
    )
    search = open_search(
        documents[: pool.searchable],
        index=settings.index,
        nprobe=settings.nprobe,
        seed=settings.seed,
        progress=progress,
    )
    miner = Miner(pool, documents, queries, search, settings, reranker)
    schema = pairs.with_format("arrow").features.arrow_schema.remove_metadata()
    write_rows(out, miner.tables(pairs, progress), schema)
    report = {
        "rows": len(pool.queries),
        "documents": {"different": len(pool.documents), "searched": pool.searchable},
        **miner.account(),
        "settings": asdict(settings) | {"instruction": instruction, "corpus": corpus is not None},
        "model": {"name": embedder.name, "fingerprint": embedder.fingerprint},
        "reranker": None if reranker is None else reranker.name,
        "versions": versions("faiss-cpu", "numpy", "pyarrow"),
        "seconds": round(time.monotonic() - started, 2),
    }
    write_report(out, report)
    return report


class Miner:
    """Goes through the queries and counts what it meets.

    Args:
        pool: queries and documents.
        documents: (u, dim). queries: (n, dim).
        search: over the first `pool.searchable` documents.
        settings, reranker: as `mine`.
    """

    def __init__(
        self,
        pool: Pool,
        documents: Vectors,
        queries: Vectors,
        search: Search,
        settings: MiningSettings,
        reranker: Reranker | None,
    ) -> None:
        self._pool, self._documents, self._queries = pool, documents, queries
        self._search, self._settings, self._reranker = search, settings, reranker
        self._found: Counter[int] = Counter()
        self._out: Counter[str] = Counter()
        self._ranks: Counter[int] = Counter()
        self._scores = {name: np.zeros(len(_BINS) - 1, dtype=np.int64) for name in ("positive", "negative")}

    def tables(self, pairs: Dataset, progress: Progress | None = None) -> Iterator[pa.Table]:
        """The pairs with their negatives, some rows at a time."""
        start = 0
        for table in pairs.with_format("arrow").iter(batch_size=_QUERIES_AT_ONCE):
            mined = self._negatives(start, table.column("negative").to_pylist())
            start += table.num_rows
            column = pa.array(mined, table.schema.field("negative").type)
            yield table.set_column(table.schema.get_field_index("negative"), "negative", column)
            if progress is not None:
                progress("mining", start, len(self._pool.queries))

    def account(self) -> dict[str, Any]:
        """What was found, for the report."""
        ranks = np.repeat(list(self._ranks.keys()), list(self._ranks.values())) if self._ranks else np.zeros(0)
        return {
            "negatives": sum(count * rows for count, rows in self._found.items()),
            "rows_by_negatives_found": {str(count): rows for count, rows in sorted(self._found.items())},
            "left_out": dict(self._out),
            "ranks": {f"{share:.0%}": float(np.quantile(ranks, share)) for share in (0, 0.25, 0.5, 0.75, 1)}
            if len(ranks)
            else {},
            "score_histogram": {"from": -1.0, "to": 1.0, **{name: c.tolist() for name, c in self._scores.items()}},
        }

    def _negatives(self, start: int, own: list[list[str]]) -> list[list[str]]:
        """The negatives of some rows: those they keep, then the mined ones."""
        stop, settings, pool = start + len(own), self._settings, self._pool
        kept = own if settings.keep else [[] for _ in own]
        known: list[Keys] = [np.array([key_of(text) for text in texts], dtype=np.uint64) for texts in kept]
        excluded = [pool.excluded(row, keys) for row, keys in zip(range(start, stop), known, strict=True)]
        most = settings.ranks[1] + max((len(documents) for documents, _ in excluded), default=0)
        vectors = np.ascontiguousarray(self._queries[start:stop])  # (rows, dim)
        scores, documents = self._search(vectors, min(most, pool.searchable))
        chosen: list[Found] = []
        for at, (others, reasons) in enumerate(excluded):
            found, met = within_ranks(documents[at], scores[at], others, reasons, settings.ranks)
            self._out.update({REASONS[reason]: count for reason, count in met.items()})
            positive, found = self._score(start + at, vectors[at], found)
            picked, out = choose(found, positive, settings, start + at)
            self._count(positive, picked)
            self._out.update(out)
            chosen.append(picked)
        texts = iter(pool.documents.take(np.concatenate([found.documents for found in chosen])))
        mined = [[next(texts) for _ in found.documents] for found in chosen]
        return [[*before, *new] for before, new in zip(kept, mined, strict=True)]

    def _score(self, row: int, vector: Vectors, found: Found) -> tuple[float, Found]:
        """The score of the row's worst positive, and the documents with their final scores."""
        positives = self._pool.positives_of(row)
        if self._reranker is None:
            return float((self._documents[positives] @ vector).min()), found
        query = self._pool.queries.take([row])[0]
        texts = self._pool.documents.take(np.concatenate([positives, found.documents]))
        scores = np.asarray(self._reranker.score(query, texts), dtype=np.float32)
        return float(scores[: len(positives)].min()), found._replace(scores=scores[len(positives) :])

    def _count(self, positive: float, picked: Found) -> None:
        self._found[len(picked.documents)] += 1
        self._ranks.update(picked.ranks.tolist())
        for name, values in (("positive", np.array([positive])), ("negative", picked.scores)):
            self._scores[name] += np.histogram(np.clip(values, -1, 1), _BINS)[0]
