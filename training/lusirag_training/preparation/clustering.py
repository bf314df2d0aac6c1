"""Clusters of similar rows, by k-means on embeddings: batches drawn from one cluster have harder in-batch negatives."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from lusirag.errors import CorpusError, InvalidArgumentError
from lusirag.index.engine import load_faiss
from lusirag.types import Encoder, Vectors
from lusirag_training.data.columns import kind_of
from lusirag_training.preparation.embeddings import Embedding, embed_texts
from lusirag_training.preparation.progress import Progress
from lusirag_training.preparation.texts import Rows, Texts, column_of, flatten
from lusirag_training.preparation.writing import check_target, versions, write_report, write_rows

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

By = Literal["query", "document"]

# FAISS's own bound: with fewer rows a cluster's centre says little.
ROWS_A_CLUSTER = 39
_NEAREST = 32
_ROWS_AT_ONCE = 16_384


@dataclass(frozen=True, slots=True)
class ClusteringSettings:
    """How rows are clustered.

    Args:
        clusters: how many; fewer when there are less than 39 rows for each.
        by: what is embedded: the "query" or the "document" (the first positive).
        iterations: of k-means.
        balance: a cluster holds at most that many times its fair share of rows, those nearest to its centre first; what
            does not fit goes to the next nearest with room. None: no bound.
        seed: of the first centres and of the sample that k-means is trained on.
    """

    clusters: int = 1024
    by: By = "query"
    iterations: int = 20
    balance: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        wrong = []
        if self.clusters < 1:
            wrong.append(f"clusters is {self.clusters}; give 1 or more")
        if self.by not in ("query", "document"):
            wrong.append(f"by is {self.by!r}; allowed: query, document")
        if self.iterations < 1:
            wrong.append(f"iterations is {self.iterations}; give 1 or more")
        if self.balance is not None and self.balance < 1:
            wrong.append(f"balance is {self.balance}; give 1 or more, or leave it out")
        if not 0 <= self.seed < 2**31:
            wrong.append(f"seed is {self.seed}; give 0 to {2**31 - 1}")
        if wrong:
            raise InvalidArgumentError("; ".join(wrong))


def cluster(
    pairs: Dataset,
    embedder: Encoder,
    out: str | Path,
    *,
    settings: ClusteringSettings | None = None,
    instruction: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the pairs with the number of their cluster.

    Args:
        pairs: as `read_set` gives them.
        embedder: its vectors are kept in <out>.embeddings/.
        out: .parquet or .jsonl; a report is written beside it.
        settings: `ClusteringSettings()` when None.
        instruction: for queries, for models trained with instructions.
        progress: called as progress(step, done, total).

    Returns:
        the report.

    Raises:
        CorpusError: not pairs.
        InvalidArgumentError: `out` is not allowed.
        StorageError: no space left.
    """
    settings, out, started = settings or ClusteringSettings(), Path(out), time.monotonic()
    check_target(out)
    if kind_of(pairs.column_names) != "pairs":
        raise CorpusError("clustering needs pairs: query and positive")
    vectors = _embed(pairs, embedder, out.with_name(f"{out.name}.embeddings"), settings.by, instruction, progress)
    wanted = max(1, min(settings.clusters, len(vectors) // ROWS_A_CLUSTER))
    if wanted < settings.clusters:
        said = "%d rows make %d clusters of %d rows and more, not %d"
        logger.warning(said, len(vectors), wanted, ROWS_A_CLUSTER, settings.clusters)
    centres = find_centres(vectors, wanted, iterations=settings.iterations, seed=settings.seed)
    if progress is not None:
        progress("clustering", 1, 1)
    most = None if settings.balance is None else int(np.ceil(settings.balance * len(vectors) / wanted))
    numbers, scores = assign(vectors, centres, most=most)
    schema = pairs.features.arrow_schema.remove_metadata()
    write_rows(out, _tables(pairs, numbers), schema)
    sizes = np.bincount(numbers, minlength=wanted)
    report = {
        "rows": len(vectors),
        "clusters": wanted,
        "sizes": {
            "smallest": int(sizes.min()),
            "median": float(np.median(sizes)),
            "largest": int(sizes.max()),
            "empty": int((sizes == 0).sum()),
        },
        "mean_similarity_to_centre": round(float(scores.mean()), 4),
        "settings": asdict(settings) | {"instruction": instruction},
        "model": {"name": embedder.name, "fingerprint": embedder.fingerprint},
        "versions": versions("faiss-cpu", "numpy", "pyarrow"),
        "seconds": round(time.monotonic() - started, 2),
    }
    write_report(out, report)
    return report


def find_centres(vectors: Vectors, clusters: int, *, iterations: int = 20, seed: int = 0) -> Vectors:
    """Spherical k-means.

    Args:
        vectors: (n, dim) unit vectors; more than 256 for each cluster are sampled.
        clusters: at most n.
        iterations: of k-means.
        seed: of first centres and sample.

    Returns:
        (clusters, dim) unit vectors.
    """
    faiss = load_faiss()
    kmeans = faiss.Kmeans(
        vectors.shape[1], clusters, niter=iterations, seed=seed, spherical=True, min_points_per_centroid=1
    )
    # The sample is drawn here: FAISS would copy all vectors first.
    most = 256 * clusters
    if len(vectors) > most:
        vectors = vectors[np.sort(np.random.default_rng(seed).choice(len(vectors), size=most, replace=False))]
    kmeans.train(np.ascontiguousarray(vectors, dtype=np.float32))
    centres: Vectors = kmeans.centroids
    return centres


def assign(vectors: Vectors, centres: Vectors, *, most: int | None = None) -> tuple[Rows, Vectors]:
    """Give each row its cluster.

    Args:
        vectors: (n, dim). centres: (c, dim).
        most: rows in a cluster, with c * most >= n; None: no bound.

    Returns:
        cluster (n,) and its similarity (n,).
    """
    faiss = load_faiss()
    k = 1 if most is None else min(_NEAREST, len(centres))
    scores = np.empty((len(vectors), k), dtype=np.float32)
    nearest = np.empty((len(vectors), k), dtype=np.int64)
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        some = np.ascontiguousarray(vectors[start : start + _ROWS_AT_ONCE])
        found = faiss.knn(some, centres, k, metric=faiss.METRIC_INNER_PRODUCT)
        scores[start : start + len(some)], nearest[start : start + len(some)] = found
    if most is None:
        return nearest[:, 0], scores[:, 0]
    chosen = np.full(len(vectors), -1, dtype=np.int64)
    similarity = np.zeros(len(vectors), dtype=np.float32)
    room = np.full(len(centres), most)
    for choice in range(k):
        waiting = np.flatnonzero(chosen < 0)
        for row in waiting[np.argsort(-scores[waiting, choice], kind="stable")]:
            centre = nearest[row, choice]
            if room[centre]:
                chosen[row], similarity[row] = centre, scores[row, choice]
                room[centre] -= 1
    for row in np.flatnonzero(chosen < 0):
        free = np.flatnonzero(room)
        products = centres[free] @ vectors[row]
        best = int(np.argmax(products))
        chosen[row], similarity[row] = free[best], products[best]
        room[free[best]] -= 1
    return chosen, similarity


def _embed(
    pairs: Dataset, embedder: Encoder, folder: Path, by: By, instruction: str | None, progress: Progress | None
) -> Vectors:
    if by == "query":
        texts = Texts(column_of(pairs, "query"))
        fingerprint = f"query {instruction!r} {embedder.fingerprint}"

        def encode(some: list[str]) -> Vectors:
            return embedder.encode_queries(some, instruction=instruction)

        return embed_texts(
            texts, Embedding(encode, embedder.dimension, fingerprint), folder, "queries", progress=progress
        )
    flat, starts = flatten(column_of(pairs, "positive"))
    embedding = Embedding(embedder.encode_documents, embedder.dimension, f"document {embedder.fingerprint}")
    return embed_texts(Texts(flat, starts[:-1]), embedding, folder, "documents", progress=progress)


def _tables(pairs: Dataset, numbers: Rows) -> Iterator[pa.Table]:
    start = 0
    for table in pairs.with_format("arrow").iter(batch_size=10_000):
        column = pa.array(numbers[start : start + table.num_rows])
        start += table.num_rows
        yield table.set_column(table.schema.get_field_index("cluster"), "cluster", column)
