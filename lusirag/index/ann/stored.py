"""A segment's structure as it lies on disk: mapped when the segment is opened, checked and read when it is needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lusirag.index import cagra, gpu
from lusirag.index.ann.linking import degree_of, lowest_level
from lusirag.index.ann.records import SearchSettings
from lusirag.index.engine import in_threads, load_faiss, reason
from lusirag.index.files import FileRecord, damaged, is_unaltered
from lusirag.index.tombstones import Bitmap
from lusirag.index.vectors import StoredVectors
from lusirag.types import Vectors

Rows = npt.NDArray[np.int64]
Find = Callable[[Vectors, int], tuple[Vectors, Rows]]

# Candidates that are scored again for one hit, by what the structure knows of a vector: 8 bits a number, or about one.
_FINE, _COARSE = 2, 10
_FEWEST_HITS = 10  # that candidates are counted for; few candidates would find less than their share
# Queries that lists are chosen for at once: for many more FAISS multiplies matrices, which adds up otherwise.
_LISTS_CHOSEN_AT_ONCE = 16
_SEARCHED_AT_ONCE = 4


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
        self._lists: Any = None
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
            self._lists = _plain_lists(index)
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

    def finder(self, settings: SearchSettings, allowed: Bitmap, count: int) -> Find:
        """What finds the rows that are near to one query.

        Args:
            settings: how hard to look.
            allowed: bitmap of the rows that may be found.
            count: how many those are. Where only some are, the search looks harder in the same measure.

        Returns:
            A function of queries (n, dim) and a number m: approximate inner products and rows, both (n, m), best first;
            the row is -1 where fewer were found, and its score anything. What it finds for a query does not depend on
            the others, unless a GPU does it: there the lists of a query in company may differ by one that is as near
            as another.
        """
        self.load()
        faiss = load_faiss()
        selector, parameters = None, self._unfiltered.get(settings)
        if count < self._rows:
            selector = faiss.IDSelectorBitmap(self._rows, faiss.swig_ptr(allowed))
            parameters = _parameters(faiss, self._index, settings, self._rows / max(count, 1), selector)
        elif parameters is None:
            parameters = self._unfiltered[settings] = _parameters(faiss, self._index, settings, 1.0, None)

        # NOTE: FAISS holds bare pointers to the selector and the bitmap; this function keeps both alive.
        def on_cpu(queries: Vectors, m: int) -> tuple[Vectors, Rows]:
            scores, rows = search(queries, m, parameters)
            if selector is not None and not self._selects:
                rows = np.where((allowed[rows >> 3] >> (rows & 7).astype(np.uint8)) & 1 > 0, rows, -1)
            return scores, rows

        search = self._search
        if not self.factory.startswith("HNSW"):  # of which each query is searched for by itself in any company
            search = self._search_lists if self._lists is not None else self._search_each
        resident, wider = self._resident, self._parameters_on_gpu(settings, self._rows / max(count, 1))
        if resident is None or wider is None:
            return on_cpu

        def find_on_gpu(queries: Vectors, m: int) -> tuple[Vectors, Rows]:
            fetched = gpu.fetched(m, count, self._rows, resident.most)
            found = None if fetched is None else resident.search(queries, fetched, wider)
            return on_cpu(queries, m) if found is None else gpu.among(allowed, *found, m)

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

    def _search(self, queries: Vectors, m: int, parameters: Any) -> tuple[Any, Rows]:
        if self._selects:
            try:
                found: tuple[Any, Rows] = self._index.search(queries, m, params=parameters)
                return found
            except RuntimeError:
                # Some structures take no parameters (NSG, refined ones): what may not be found is left out afterwards.
                self._selects = False
        plain: tuple[Any, Rows] = self._index.search(queries, m)
        return plain

    def _search_each(self, queries: Vectors, m: int, parameters: Any) -> tuple[Any, Rows]:
        if len(queries) == 1:
            return self._search(queries, m, parameters)
        scores, rows = zip(*in_threads(lambda query: self._search(query[None], m, parameters), queries), strict=True)
        return np.concatenate(scores), np.concatenate(rows)

    def _search_lists(self, queries: Vectors, m: int, parameters: Any) -> tuple[Any, Rows]:
        """What `_search_each` finds, sooner: FAISS is called for several queries at once."""
        if len(queries) == 1:
            return self._search(queries, m, parameters)
        faiss, index, n = load_faiss(), self._lists, len(queries)
        lists = np.empty((n, parameters.nprobe), dtype=np.int64)
        nearness = np.empty(lists.shape, dtype=np.float32)
        for start in range(0, n, _LISTS_CHOSEN_AT_ONCE):
            part = slice(start, start + _LISTS_CHOSEN_AT_ONCE)
            index.quantizer.search(queries[part], parameters.nprobe, D=nearness[part], I=lists[part])
        scores = np.empty((n, m), dtype=np.float32)
        rows = np.empty((n, m), dtype=np.int64)

        def look(part: slice) -> None:
            asked, *rest = (faiss.swig_ptr(each[part]) for each in (queries, lists, nearness, scores, rows))
            # NOTE: FAISS's Python method of this name takes no parameters; this is the one that it calls.
            index.search_preassigned_c(len(queries[part]), asked, m, *rest, False, parameters)

        if isinstance(index, faiss.IndexIVFFastScan):
            look(slice(None))
        else:  # FAISS looks into given lists by one thread
            in_threads(look, [slice(start, start + _SEARCHED_AT_ONCE) for start in range(0, n, _SEARCHED_AT_ONCE)])
        return scores, rows


def _plain_lists(index: Any) -> Any | None:
    """An index with lists that a flat quantizer finds; None if it is another one."""
    faiss = load_faiss()
    index = faiss.downcast_index(index)
    kinds = (faiss.IndexIVFFlat, faiss.IndexIVFScalarQuantizer, faiss.IndexIVFPQ, faiss.IndexIVFPQFastScan)
    flat = type(index) in kinds and isinstance(faiss.downcast_index(index.quantizer), faiss.IndexFlat)
    return index if flat else None


def _parameters(faiss: Any, index: Any, settings: SearchSettings, factor: float, selector: Any) -> Any:
    """FAISS's search parameters for an index; they are objects of one search, so threads do not disturb each other."""
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
        return faiss.SearchParametersIVF(nprobe=nprobe, sel=selector)
    if isinstance(index, (faiss.IndexRaBitQ, faiss.IndexRaBitQFastScan)):
        return faiss.RaBitQSearchParameters(qb=8, sel=selector)
    return faiss.SearchParameters(sel=selector)
