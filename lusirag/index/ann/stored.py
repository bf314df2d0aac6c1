"""A segment's structure as it lies on disk: mapped when the segment is opened, checked and read when it is needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lusirag.index import cagra, gpu
from lusirag.index.ann.linking import degree_of, lowest_level
from lusirag.index.ann.records import SearchSettings
from lusirag.index.engine import load_faiss, reason
from lusirag.index.files import FileRecord, damaged, is_unaltered
from lusirag.index.threads import in_threads
from lusirag.index.tombstones import Bitmap
from lusirag.index.vectors import StoredVectors
from lusirag.types import Vectors

Rows = npt.NDArray[np.int64]


class Found(NamedTuple):
    """What a structure found for n queries, best first.

    Attributes:
        scores: (n, m) inner products.
        rows: (n, m); -1 where fewer were found, and the score is anything.
        exact: whether the scores are those of the stored vectors, but for rounding, and not what the structure knows.
    """

    scores: Vectors
    rows: Rows
    exact: bool


Find = Callable[[Vectors, int], Found]

# Candidates that are scored again for one hit, by what the structure knows of a vector: 8 bits a number, or about one.
_FINE, _COARSE = 2, 10
_FEWEST_HITS = 10  # that candidates are counted for; few candidates would find less than their share
# Numbers of a part of a vector from which FAISS compares the parts of many queries at once by matrix products, which
# add up otherwise than for one query.
_LARGE_PART = 16


class StoredStructure:
    """A FAISS index in a file that stays readable when its name is gone. Any thread may search it.

    Args:
        directory: the index directory.
        record: the file.
        factory: its factory string.
        vectors: what it was built from.
    """

    def __init__(self, directory: Path, record: FileRecord, factory: str, vectors: StoredVectors) -> None:
        self.factory = factory
        self._directory = directory
        self._record = record
        self._vectors = vectors
        self._rows = len(vectors)
        self._bytes = np.memmap(directory / record.path, dtype=np.uint8, mode="r")
        self._lock = threading.Lock()
        self._index: Any = None
        self._refined: Any = None  # it and the stored vectors
        self._lists: Any = None  # how to choose among them
        self._resident: gpu.Resident | None = None
        self._selects = True
        self._unfiltered: dict[SearchSettings, Any] = {}  # parameters of searches in which all rows are allowed

    @property
    def loaded(self) -> bool:
        """Whether it was read."""
        return self._index is not None

    def load(self) -> None:
        """Read it, unless that is done.

        NOTE: FAISS trusts what it reads: an altered link or size makes it read beyond its arrays and ends the process.
        So the whole file is compared with its checksum first, once for each object.

        Raises:
            IndexStateError: the file was altered.
        """
        with self._lock:
            if self._index is not None:
                return
            if not is_unaltered(self._bytes, self._record):
                raise damaged(
                    self._directory, f"{self._record.path} was altered: its checksum is not the one in manifest.json"
                )
            faiss = load_faiss()
            try:
                # NOTE: no copy is made of codes and links, so the bytes must outlive the index.
                reader = faiss.ZeroCopyIOReader(faiss.swig_ptr(self._bytes), self._bytes.size)
                index = faiss.read_index(reader)
            except RuntimeError as error:
                raise damaged(self._directory, f"{self._record.path} cannot be read: {reason(error)}") from error
            if (index.ntotal, index.d) != (self._rows, self._vectors.dimension):
                raise damaged(
                    self._directory, f"{self._record.path} holds {index.ntotal} vectors of {index.d} dimensions"
                )
            if gpu.searches():
                self._resident = self._copied(index)
            # NOTE: with a selector FAISS compares each query with the lists by itself. Without one it multiplies
            # matrices where queries are many, which adds up otherwise, and chooses another list now and then.
            self._lists = faiss.SearchParameters(sel=faiss.IDSelectorAll()) if _plain_lists(index) else None
            self._refined = faiss.IndexRefine(index, self._vectors.flat_index)
            self._index = index

    def _copied(self, index: Any) -> gpu.Resident | None:
        degree = degree_of(index)
        if degree is None:
            return gpu.resident_lists(index)
        if not cagra.present():
            return None
        return cagra.resident_graph(self._vectors.halves(), degree, lowest_level(index))

    def candidates_for(self, k: int, settings: SearchSettings) -> int:
        """How many candidates must be scored again to find k hits."""
        coarse = "PQ" in self.factory or "RaBitQ" in self.factory or "LSH" in self.factory
        return (_COARSE if coarse else _FINE) * settings.rescored * max(k, _FEWEST_HITS)

    def finder(self, settings: SearchSettings, allowed: Bitmap, count: int, kept: int | None = None) -> Find:
        """What finds the rows that are near to some queries.

        Args:
            settings: how hard to look.
            allowed: bitmap of the rows that may be found.
            count: how many those are. Where only some are, the search looks harder in the same measure.
            kept: if given, candidates are scored again, and so many of the best returned. Not by a GPU, nor by
                structures that take no parameters.

        Returns:
            A function of queries (n, dim) and a number m of candidates, at least `kept`. What it finds for a query does
            not depend on the others, unless a GPU does it: there the lists of a query in company may differ by one that
            is as near as another.
        """
        self.load()
        faiss = load_faiss()
        selector, parameters = None, self._unfiltered.get(settings)
        if count < self._rows:
            selector = faiss.IDSelectorBitmap(self._rows, faiss.swig_ptr(allowed))
            parameters = self._parameters(settings, self._rows / max(count, 1), selector)
        elif parameters is None:
            parameters = self._unfiltered[settings] = self._parameters(settings, 1.0, None)
        # HNSW searches for each query by itself in any company.
        search = self._search if self._lists or self.factory.startswith("HNSW") else self._search_each

        # NOTE: FAISS holds bare pointers to the selector and the bitmap; this function keeps both alive.
        def on_cpu(queries: Vectors, m: int) -> Found:
            found = search(queries, m, kept, parameters)
            if selector is not None and not self._selects:
                rows = found.rows
                rows = np.where((allowed[rows >> 3] >> (rows & 7).astype(np.uint8)) & 1 > 0, rows, -1)
                return found._replace(rows=rows)
            return found

        resident, wider = self._resident, self._parameters_on_gpu(settings, self._rows / max(count, 1))
        if resident is None or wider is None:
            return on_cpu

        def find_on_gpu(queries: Vectors, m: int) -> Found:
            fetched = gpu.fetched(m, count, self._rows, resident.most)
            found = None if fetched is None else resident.search(queries, fetched, wider)
            if found is None:
                return on_cpu(queries, m)
            scores, rows = gpu.among(allowed, *found, m)
            return Found(scores, rows, exact=False)

        return find_on_gpu

    def _parameters_on_gpu(self, settings: SearchSettings, factor: float) -> Any | None:
        """What `Resident.search` takes; None where a GPU cannot look so hard, or does not search."""
        if self._resident is None:
            return None
        if isinstance(self._resident, cagra.Graph):
            return ef if (ef := round(settings.ef_search * factor)) <= cagra.MOST else None
        if settings.nprobe * factor > gpu.MOST:
            return None
        return _parameters(load_faiss(), self._index, settings, factor, None)

    def _parameters(self, settings: SearchSettings, factor: float, selector: Any) -> Any:
        return _parameters(load_faiss(), self._index, settings, factor, selector, self._lists)

    def _search(self, queries: Vectors, m: int, kept: int | None, parameters: Any) -> Found:
        if self._selects:
            try:
                if kept is None:
                    scores, rows = self._index.search(queries, m, params=parameters)
                else:
                    again = load_faiss().IndexRefineSearchParameters(
                        k_factor=(m + 0.5) / kept, base_index_params=parameters
                    )
                    scores, rows = self._refined.search(queries, kept, params=again)
                return Found(scores, rows, exact=kept is not None)
            except RuntimeError:
                # Some structures take no parameters (NSG, refined ones): what may not be found is left out afterwards.
                self._selects = False
        scores, rows = self._index.search(queries, m)
        return Found(scores, rows, exact=False)

    def _search_each(self, queries: Vectors, m: int, kept: int | None, parameters: Any) -> Found:
        found = in_threads(lambda query: self._search(query[None], m, kept, parameters), queries)
        scores, rows, exact = zip(*found, strict=True)
        return Found(np.concatenate(scores), np.concatenate(rows), exact=all(exact))


def _plain_lists(index: Any) -> bool:
    """Whether an index has lists that a flat quantizer finds, and finds the same for a query in any company."""
    faiss = load_faiss()
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexIVFPQFastScan) and index.pq.dsub >= _LARGE_PART:
        return False
    kinds = (faiss.IndexIVFFlat, faiss.IndexIVFScalarQuantizer, faiss.IndexIVFPQ, faiss.IndexIVFPQFastScan)
    return type(index) in kinds and isinstance(faiss.downcast_index(index.quantizer), faiss.IndexFlat)


def _parameters(
    faiss: Any, index: Any, settings: SearchSettings, factor: float, selector: Any, lists: Any = None
) -> Any:
    """FAISS's search parameters for an index; they are objects of one search, so threads do not disturb each other.

    Args:
        faiss: the module.
        index: what to search.
        settings: how hard to look.
        factor: as many times as hard.
        selector: of the rows that may be found; None for all.
        lists: parameters of the search for lists.
    """
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        inner = _parameters(faiss, index.index, settings, factor, selector)
        return faiss.SearchParametersPreTransform(index_params=inner)
    if isinstance(index, faiss.IndexRefine):
        inner = _parameters(faiss, index.base_index, settings, factor, selector)
        return faiss.IndexRefineSearchParameters(k_factor=4, base_index_params=inner)
    if isinstance(index, faiss.IndexHNSW):
        return faiss.SearchParametersHNSW(efSearch=round(settings.ef_search * factor), sel=selector)
    if isinstance(index, faiss.IndexIVF):
        nprobe = min(index.nlist, round(settings.nprobe * factor))
        if isinstance(index, (faiss.IndexIVFRaBitQ, faiss.IndexIVFRaBitQFastScan)):
            return faiss.IVFRaBitQSearchParameters(nprobe=nprobe, sel=selector)
        return faiss.SearchParametersIVF(nprobe=nprobe, sel=selector, quantizer_params=lists)
    if isinstance(index, (faiss.IndexRaBitQ, faiss.IndexRaBitQFastScan)):
        return faiss.RaBitQSearchParameters(qb=8, sel=selector)
    return faiss.SearchParameters(sel=selector)
