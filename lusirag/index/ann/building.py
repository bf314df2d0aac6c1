"""Building a segment's structure and writing it: training, adding, one checksummed file."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lusirag.errors import InvalidArgumentError
from lusirag.index import cagra, gpu
from lusirag.index.ann.linking import assemble, degree_of
from lusirag.index.engine import load_faiss, reason, too_few
from lusirag.index.files import FileRecord, write_file
from lusirag.index.scan import largest_inner_products
from lusirag.index.tombstones import to_bitmap
from lusirag.index.vectors import StoredVectors
from lusirag.types import Vectors

logger = logging.getLogger(__name__)

_POINTS_PER_CENTROID = 64  # more train hardly better (FAISS takes up to 256), and take four times as long
# What a structure without lists is trained with at most, as float32; one with lists, with points for each of them.
_TRAINING_BYTES = 64 << 20
_ADDED_AT_ONCE = 1 << 15
# Passages that HNSW keeps in view while it links a new one (Malkov and Yashunin 2018, "efConstruction"): with FAISS's
# 40 more passages stay that no search finds, however wide it is.
_EF_CONSTRUCTION = 80
_OPQ_ITERATIONS, _OPQ_POINTS = 10, 1 << 14
# Links that a GPU has found are used if they lead to at least that share of the ten nearest of so many passages, or to
# others whose inner product is less by no more than that.
_SAMPLE, _SAMPLED_NEAREST, _LEAST_FOUND, _NEAR = 200, 10, 0.8, 0.01


def build(factory: str, vectors: StoredVectors) -> Any | None:
    """A FAISS index of vectors by inner product; None where they are too few to train it.

    Where a GPU is used it makes it, or finds the centroids of its lists or the links of its nodes; see `gpu`, `cagra`.

    Raises:
        InvalidArgumentError: FAISS cannot build such an index, or a GPU is asked for that is not there.
        MissingDependencyError: FAISS is not installed.
    """
    faiss = load_faiss()

    def empty() -> Any:
        return faiss.index_factory(vectors.dimension, factory, faiss.METRIC_INNER_PRODUCT)

    try:
        plan = empty()
        lists = faiss.try_extract_index_ivf(plan)
        training = _sample(vectors, 0 if lists is None else lists.nlist)

        def fill(index: Any) -> None:
            _fill(index, training, vectors)

        index = gpu.built(empty, fill) or _linked_on_gpu(empty, training, vectors)
        if index is None:
            fill(index := plan)
    except RuntimeError as error:
        if too_few(error):
            logger.warning("%s cannot be trained on %d passages; they are searched exactly", factory, len(vectors))
            return None
        raise InvalidArgumentError(
            f"FAISS cannot build {factory!r} over {len(vectors):,} passages ({reason(error)}); choose another ann"
        ) from error
    return index


def structure_name(generation: int) -> str:
    """File name of a structure that a generation wrote."""
    return f"ann-{generation:06d}.faiss"


def is_structure(path: str) -> bool:
    """Whether a segment's file is its structure; before format 3 its name was always the same."""
    return path.endswith(".faiss")


def write_index(directory: Path, path: str, index: Any) -> FileRecord:
    """Write a FAISS index as the file `path` of an index directory.

    Raises:
        StorageError: the file system refuses.
    """
    faiss = load_faiss()
    refused: list[Exception] = []
    with write_file(directory / path) as file:

        def write(piece: bytes) -> int:
            # Nothing may be raised through FAISS, which would make another error of it: it is raised afterwards.
            try:
                return len(piece) if refused else file.write(piece)
            except Exception as error:
                refused.append(error)
                return len(piece)

        faiss.write_index(index, faiss.PyCallbackIOWriter(write))
        if refused:
            raise refused[0]
        return file.record(path)


def _fill(index: Any, training: Vectors, vectors: StoredVectors) -> None:
    faiss = load_faiss()
    kept = _limit_training(faiss, index)
    if not index.is_trained:
        index.train(training)
    del kept
    core = _core(faiss, index)
    if isinstance(core, faiss.IndexHNSW):
        core.hnsw.efConstruction = _EF_CONSTRUCTION
    # NOTE: FAISS builds these graphs of all vectors at once.
    whole = isinstance(core, (faiss.IndexNSG, faiss.IndexNNDescent))
    at_once = len(vectors) if whole else _ADDED_AT_ONCE
    for start in range(0, len(vectors), at_once):
        index.add(vectors.take(slice(start, start + at_once)))


def _linked_on_gpu(empty: Callable[[], Any], training: Vectors, vectors: StoredVectors) -> Any | None:
    """An index whose links a GPU has found; None where none is used, it fails, or its links do not lead everywhere."""
    if not cagra.links_graphs() or (degree := degree_of(index := empty())) is None:
        return None
    if (links := cagra.links(vectors.halves(), degree)) is None:
        return None
    index.train(training)
    assemble(index, links, vectors, _EF_CONSTRUCTION)
    found = _found(index, vectors)
    if found < _LEAST_FOUND:
        logger.warning(
            "the links that the GPU found lead to %.0f %% of what is near; the CPU links instead", 100 * found
        )
        return None
    return index


def _found(index: Any, vectors: StoredVectors) -> float:
    """Of some passages, the share of their nearest that an HNSW index finds."""
    rows = len(vectors)
    sample = np.sort(np.random.default_rng(0).choice(rows, min(rows, _SAMPLE), replace=False))
    queries, k = vectors.take(sample), min(rows, _SAMPLED_NEAREST)
    every = to_bitmap(np.ones(rows, dtype=np.bool_))
    # Where a GPU does that, its copy of the vectors goes with the object.
    scores, _ = largest_inner_products(queries, StoredVectors(vectors.codes, vectors.ranges), k, every)
    _, found = index.search(queries, k, params=load_faiss().SearchParametersHNSW(efSearch=_EF_CONSTRUCTION))
    products = np.einsum("qd,qkd->qk", queries, vectors.take(found.ravel()).reshape(*found.shape, -1))
    return float(np.mean((found >= 0) & (products > scores[:, -1:] - _NEAR)))


def _core(faiss: Any, index: Any) -> Any:
    """An index without what turns vectors before it, or scores again what it finds."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return _core(faiss, index.index)
    return _core(faiss, index.base_index) if isinstance(index, faiss.IndexRefine) else index


def _sample(vectors: StoredVectors, lists: int) -> Vectors:
    """Vectors to train with: all, or enough of them, drawn at random."""
    most = max(_POINTS_PER_CENTROID * lists, _TRAINING_BYTES // (4 * vectors.dimension))
    if len(vectors) <= most:
        return vectors.take()
    return vectors.take(np.sort(np.random.default_rng(0).choice(len(vectors), most, replace=False)))


def _limit_training(faiss: Any, index: Any) -> list[Any]:
    """Train on fewer points, and without FAISS's warnings on standard error. What is returned must live meanwhile."""
    index = faiss.downcast_index(index)
    if hasattr(index, "do_polysemous_training"):
        # NOTE: a factory string with PQ asks for it; it takes seconds a code byte, for a filter that is not used here.
        index.do_polysemous_training = False
    for clustering in (getattr(index, "cp", None), getattr(getattr(index, "pq", None), "cp", None)):
        if clustering is not None:
            clustering.max_points_per_centroid = _POINTS_PER_CENTROID
            clustering.min_points_per_centroid = 1
    kept: list[Any] = []
    if isinstance(index, faiss.IndexPreTransform):
        for number in range(index.chain.size()):
            transform = faiss.downcast_VectorTransform(index.chain.at(number))
            if isinstance(transform, faiss.OPQMatrix):
                # FAISS's own choice is 50 iterations over 65,536 vectors: minutes for each segment.
                transform.niter, transform.max_train_points = _OPQ_ITERATIONS, _OPQ_POINTS
                quantizer = faiss.ProductQuantizer(transform.d_out, transform.M, 8)
                quantizer.cp.min_points_per_centroid = 1
                transform.pq = quantizer
                kept.append(quantizer)
        kept += _limit_training(faiss, index.index)
    return kept
