"""Graphs on a GPU by cuVS's CAGRA, where FAISS was built with it: HNSW indexes are linked there, and searched.

CAGRA knows one level of nodes. When linking, it becomes the lowest level of an HNSW index; see `linking`. When
searching, that level is copied to the GPU, whoever has linked it, with the stored vectors in 16 bits. The search then
begins at random nodes, the same ones each time, instead of coming down from the levels above.

Links to a passage's nearest alone may all stay within one topic, and then no search comes from one topic to another. So
neighbours are found by NN-descent, which leaves some of the random links that it begins with, not by lists of product
codes, which is FAISS's choice; and one link in sixteen is made a random one (python -m benchmarks.graphs).

Ootomo et al. 2023, "CAGRA: Highly Parallel Graph Construction and Approximate Nearest Neighbor Search for GPUs"; Dong
et al. 2011, "Efficient k-nearest neighbor graph construction for generic similarity measures", for NN-descent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from lusirag.index import gpu
from lusirag.index.engine import load_faiss, use_codes
from lusirag.index.gpu import Rows
from lusirag.types import Vectors

Halves = npt.NDArray[np.float16]
Links = npt.NDArray[np.int32]

MOST = 1024  # neighbours that it finds of a query, and nodes that it keeps in view
# It keeps twice as many nodes in view as HNSW would, for it begins further away.
_LEAST, _TIMES = 32, 2
_RANDOM_ONE_IN = 16


def present() -> bool:
    """Whether FAISS was built with cuVS."""
    return hasattr(load_faiss(), "GpuIndexCagra")


def links_graphs() -> bool:
    """Whether graphs are linked on a GPU. Raises what `gpu.checked_device` does."""
    return gpu.builds() and present()


def links(vectors: Halves, degree: int, random: int | None = None) -> Rows | None:
    """What CAGRA links each vector with, nearest first; None where the GPU fails.

    Args:
        vectors: (rows, dim) of unit length: the nearest are then those with the largest inner products.
        degree: of the graph.
        random: the last links of each that are random ones; if None, one in sixteen.

    Returns:
        Rows (rows, degree), or fewer each where there are hardly more. One that is out of range stands for no link.
    """
    faiss = load_faiss()
    config = faiss.GpuIndexCagraConfig()
    config.graph_degree, config.intermediate_graph_degree = degree, 2 * degree
    config.build_algo = faiss.graph_build_algo_NN_DESCENT
    config.store_dataset = False
    trained = _with_spare(vectors, _links_at_first(config.intermediate_graph_degree))
    try:
        index = faiss.GpuIndexCagra(gpu.new_resources(), vectors.shape[1], faiss.METRIC_L2, config)
        index.train(trained, numeric_type=faiss.Float16)
        found: Rows = faiss.vector_to_array(index.get_knngraph())
    except gpu.FAILURES as error:
        gpu.failed(error)
        return None
    found = found.reshape(len(trained), -1)[: len(vectors)]
    last = found.shape[1] // _RANDOM_ONE_IN if random is None else random
    found[:, found.shape[1] - last :] = np.random.default_rng(0).integers(0, len(vectors), (len(vectors), last))
    return found


def _links_at_first(degree: int) -> int:
    """How many random links NN-descent gives a node to begin with, for as many as it is to find: a multiple of 32."""
    return 32 * math.ceil((degree if degree <= 32 else 1.3 * degree) / 32)


def _with_spare(vectors: Halves, first: int) -> Halves:
    """Vectors, and as many copies of some behind them as NN-descent needs to begin well.

    NOTE: cuVS 26.06 takes each 32 of a node's first links out of its own shuffled part of the rows, `first` places
    further on for each node. If the part's size has a divisor in common with that, nodes begin with the same links, and
    at worst find little that is near (rapidsai/cuvs, issue 2273).
    """
    parts = first // 32
    size = math.ceil(len(vectors) / parts)
    while math.gcd(size, first) > 1:
        size += 1
    spare = max(0, (size - 1) * parts + 1 - len(vectors))
    copied = np.linspace(0, len(vectors) - 1, spare).astype(np.int64)
    return np.concatenate([vectors, vectors[copied]]) if spare else vectors


class Graph(gpu.Resident):
    """A graph and its vectors in the memory of a GPU. What it is searched with is HNSW's ef.

    Args:
        index: FAISS's, on the GPU.
        source: what it was copied from. NOTE: FAISS requires that this lives as long.
    """

    most = MOST

    def __init__(self, index: Any, source: Any) -> None:
        super().__init__(index)
        self._source = source

    def _found(self, queries: Vectors, m: int, parameters: int) -> tuple[Vectors, Rows]:
        faiss = load_faiss()
        found: tuple[Vectors, Rows] = self.index.search(
            queries.astype(np.float16),
            m,
            params=faiss.SearchParametersCagra(itopk_size=min(MOST, max(_TIMES * parameters, m, _LEAST))),
            numeric_type=faiss.Float16,
        )
        return found


def resident_graph(vectors: Halves, degree: int, blocks: Iterable[Links]) -> gpu.Resident | None:
    """A graph on the GPU, to be searched by inner product; None where it does not fit.

    Args:
        vectors: (rows, dim); they are not copied in the CPU's memory.
        degree: links of each.
        blocks: those links, (rows, degree) each, all within range.
    """

    def copied() -> gpu.Resident:
        faiss = load_faiss()
        rows, dimension = vectors.shape
        source = faiss.IndexHNSWCagra(dimension, degree // 2, faiss.METRIC_INNER_PRODUCT, faiss.Float16)
        source.base_level_only = True
        use_codes(faiss.downcast_index(source.storage), vectors)
        faiss.copy_array_to_vector(np.ones(rows, dtype=np.int32), source.hnsw.levels)
        source.hnsw.prepare_level_tab(rows, True)
        places = faiss.rev_swig_ptr(source.hnsw.neighbors.data(), source.hnsw.neighbors.size()).reshape(rows, degree)
        start = 0
        for block in blocks:
            places[start : start + len(block)] = block
            start += len(block)
        source.ntotal = rows
        index = faiss.GpuIndexCagra(gpu.resources(), dimension, faiss.METRIC_INNER_PRODUCT)
        index.copyFrom_ex(source, faiss.Float16)
        del places
        source.hnsw.reset()  # only its vectors are needed from now on
        return Graph(index, (source, vectors))

    return gpu.resident(copied)
