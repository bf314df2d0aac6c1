"""HNSW and links of one level: those that a GPU has found become its lowest level, and its lowest level goes to a GPU.

cuVS's CAGRA finds links of all nodes; the few above the lowest level are linked here.

FAISS has a class for CAGRA's graph on a CPU, IndexHNSWCagra, which begins each search at nodes drawn at random, so that
the same query finds now this and now that. What is put together here is an ordinary HNSW index: the same file, and the
same search, as where a CPU has linked everything.

Ootomo et al. 2023, "CAGRA: Highly Parallel Graph Construction and Approximate Nearest Neighbor Search for GPUs"; Malkov
and Yashunin 2018 for the levels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from lusirag.index.engine import load_faiss
from lusirag.index.vectors import StoredVectors

Links = npt.NDArray[np.int64]  # (rows, degree), the rows that each is linked with, nearest first

_ROWS_AT_ONCE = 1 << 15


def degree_of(index: Any) -> int | None:
    """Links of a node in the lowest level of an index; None where it is no HNSW that can be put together here.

    That is: one that is searched as it is, over vectors as they are or scalar codes of them.
    """
    faiss = load_faiss()
    graph = faiss.downcast_index(index)
    kinds = (faiss.IndexHNSWFlat, faiss.IndexHNSWSQ)
    return int(graph.hnsw.nb_neighbors(0)) if type(graph) in kinds else None


def assemble(index: Any, links: Links, vectors: StoredVectors, ef_construction: int) -> None:
    """Fill an empty, trained HNSW index whose lowest level is linked already.

    Args:
        index: of a kind that has a `degree_of`.
        links: of each row; one that is out of range stands for none.
        vectors: all of them.
        ef_construction: nodes that are kept in view while the upper levels are linked.
    """
    faiss = load_faiss()
    graph = faiss.downcast_index(index)
    rows, hnsw = len(vectors), graph.hnsw
    hnsw.prepare_level_tab(rows, False)  # draws the level of each node, and makes room for its links
    offsets = faiss.vector_to_array(hnsw.offsets).astype(np.int64)[:-1]
    places = _view(hnsw)
    storage = faiss.downcast_index(graph.storage)
    for start in range(0, rows, _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        storage.add(vectors.take(part))
        _write(places, offsets[part], _in_order(links[part], rows, hnsw.nb_neighbors(0)))
    graph.ntotal = rows
    levels = faiss.vector_to_array(hnsw.levels)  # 1 for a node of the lowest level alone
    upper = np.flatnonzero(levels > 1)
    if not len(upper):
        hnsw.entry_point, hnsw.max_level = 0, 0
        return
    above = _linked(graph, vectors, upper, levels[upper] - 1, ef_construction)
    found, starts = _view(above.hnsw), faiss.vector_to_array(above.hnsw.offsets).astype(np.int64)[:-1]
    for level in range(int(levels.max()) - 1):
        nodes = np.flatnonzero(levels[upper] > level + 1)
        width = hnsw.nb_neighbors(level + 1)
        theirs = found[starts[nodes, None] + above.hnsw.cum_nb_neighbors(level) + np.arange(width)]
        mine = np.where(theirs >= 0, upper[theirs], -1)
        _write(places, offsets[upper[nodes]] + hnsw.cum_nb_neighbors(level + 1), mine)
    hnsw.entry_point = int(upper[above.hnsw.entry_point])
    hnsw.max_level = int(above.hnsw.max_level) + 1


def lowest_level(index: Any) -> Iterator[npt.NDArray[np.int32]]:
    """What each node of an index is linked with in the lowest level, (rows, degree), some nodes at a time.

    Where a node has fewer links there are random ones: each place takes a node.

    Args:
        index: of a kind that has a `degree_of`.
    """
    faiss = load_faiss()
    hnsw = faiss.downcast_index(index).hnsw
    offsets = faiss.vector_to_array(hnsw.offsets).astype(np.int64)[:-1]
    places, width = _view(hnsw), np.arange(hnsw.nb_neighbors(0))
    random = np.random.default_rng(0)
    for start in range(0, len(offsets), _ROWS_AT_ONCE):
        found = places[offsets[start : start + _ROWS_AT_ONCE, None] + width]
        none = np.cumsum(found < 0, axis=1) > 0
        found[none] = random.integers(0, len(offsets), int(none.sum()), dtype=np.int32)
        yield found


def _linked(
    index: Any, vectors: StoredVectors, nodes: npt.NDArray[np.int64], levels: npt.NDArray[np.int32], ef: int
) -> Any:
    """An HNSW index of some nodes, each of as many levels as are given; its lowest has no more links than others."""
    faiss = load_faiss()
    found = faiss.IndexHNSWFlat(vectors.dimension, index.hnsw.nb_neighbors(1), index.metric_type)
    found.hnsw.set_nb_neighbors(0, index.hnsw.nb_neighbors(1))
    found.hnsw.efConstruction = ef
    faiss.copy_array_to_vector(levels.astype(np.int32), found.hnsw.levels)
    found.add(vectors.take(nodes))
    return found


def _in_order(links: Links, limit: int, width: int) -> npt.NDArray[np.int32]:
    """Links (rows, width) to nodes below `limit`, nearest first; -1 at the end, where FAISS stops reading."""
    found = np.full((len(links), width), -1, dtype=np.int32)
    degree = min(width, links.shape[1])
    found[:, :degree] = np.where((links >= 0) & (links < limit), links, -1)[:, :degree]
    return np.take_along_axis(found, np.argsort(found < 0, axis=1, kind="stable"), axis=1)


def _view(hnsw: Any) -> npt.NDArray[np.int32]:
    """The links of all nodes where FAISS keeps them."""
    view: npt.NDArray[np.int32] = load_faiss().rev_swig_ptr(hnsw.neighbors.data(), hnsw.neighbors.size())
    return view


def _write(places: npt.NDArray[np.int32], starts: npt.NDArray[np.int64], links: npt.NDArray[np.int32]) -> None:
    places[starts[:, None] + np.arange(links.shape[1])] = links
