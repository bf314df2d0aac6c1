"""The stores that `benchmarks.stores` compares: how each is built, opened again and asked, in its own manner.

Nothing of a store is imported before it is used, so that a process holds one of them alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

DIMENSION, K, NAMES = 384, 10, 100
BATCH = 4096  # documents that LangChain is given at once, as many as lusirag commits at once
ENOUGH = 2000  # candidates, of which a filter that keeps 1 % leaves twice as many as are wanted
TEXT = (
    "{} Everyone has the right to education. Education shall be free, at least in the elementary and fundamental "
    "stages. Elementary education shall be compulsory. Technical and professional education shall be made generally "
    "available and higher education shall be equally accessible to all on the basis of merit."
)
SAME = "name 7"
NO_FILTER, FILTER, AGAIN = "no filter", "1 %", "1 %, the same again"
MORE, ALL = f"1 %, {ENOUGH:,} candidates", "1 %, all are candidates"


class Query(NamedTuple):
    """A query: its row in the file of vectors, a text that begins with it, its vector (dim,), the name to filter by."""

    row: int
    text: str
    vector: npt.NDArray[np.float32]
    name: str


class Found(NamedTuple):
    """What a store returned of one document."""

    id: str
    text: str
    name: str
    number: int


Ask = Callable[[Query], Any]


@dataclass(frozen=True, slots=True)
class Store:
    """A store under test.

    Attributes:
        modules: what it is imported from.
        packages: what pip installs for it, by the name of the module.
        build: writes an index of so many documents to a folder.
        open: opens that folder: by kind of search, what answers a query.
        read: what was answered, as plain values.
    """

    modules: tuple[str, ...]
    packages: dict[str, str]
    build: Callable[[Path, Rows, int], None]
    open: Callable[[Path, Rows, int], dict[str, Ask]]
    read: Callable[[Any], list[Found]]

    def load(self) -> None:
        """Import what it is made of."""
        for module in self.modules:
            import_module(module)


class Rows:
    """Gives a text the vector in the row that it begins with; satisfies lusirag.types.Encoder.

    Vectors are read from a file and not kept, so that the memory of a process is that of its store.
    """

    name, fingerprint, dimension, max_tokens = "rows", "rows-1", DIMENSION, 512

    def __init__(self, file: Path) -> None:
        self._file = file

    def encode_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> npt.NDArray[np.float32]:
        """Return float32 unit vectors of shape (n, dimension)."""
        del instruction
        return self.encode_documents(texts)

    def encode_documents(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return float32 unit vectors of shape (n, dimension) of texts that follow each other.

        Raises:
            ValueError: they do not.
        """
        rows = [int(text.split(maxsplit=1)[0]) for text in texts]
        if rows != list(range(rows[0], rows[0] + len(rows))):
            raise ValueError(f"rows that do not follow each other: {rows[:3]}")
        return self.read(rows[0], len(rows))

    def read(self, first: int, count: int) -> npt.NDArray[np.float32]:
        """Return `count` vectors (count, dimension) from a row on."""
        values = np.fromfile(self._file, np.float32, count * DIMENSION, offset=4 * DIMENSION * first)
        return values.reshape(count, DIMENSION)


def documents(stop: int, first: int = 0) -> Iterator[Found]:
    """The documents that all stores hold, in order."""
    for number in range(first, stop):
        yield Found(str(number), TEXT.format(number), f"name {number % NAMES}", number)


def queries(rows: Rows, documents: int, count: int) -> list[Query]:
    """Queries; their vectors stand behind those of the documents."""
    vectors = rows.read(documents, count)
    return [
        Query(documents + n, f"{documents + n} free education", vectors[n], f"name {n % NAMES}") for n in range(count)
    ]


def require(names: Sequence[str]) -> dict[str, str]:
    """Return the versions of the packages of some stores.

    Raises:
        SystemExit: packages are not installed.
    """
    wanted = {module: package for name in names for module, package in STORES[name].packages.items()}
    if missing := [package for module, package in wanted.items() if find_spec(module) is None]:
        sys.exit(f"stores to compare come with packages: pip install {' '.join(missing)}")
    return {package: version(package) for package in wanted.values()}


def _lusirag(ann: str) -> Store:
    def build(folder: Path, rows: Rows, count: int) -> None:
        from lusirag import Document, Index

        with Index.create(folder, rows, ann=ann, identify_languages=False) as index:
            index.add(
                Document(each.id, each.text, metadata={"name": each.name, "number": each.number})
                for each in documents(count)
            )
            index.compact()

    def reopen(folder: Path, rows: Rows, count: int) -> dict[str, Ask]:
        from lusirag import Index

        del count
        index = Index.open(folder, rows, read_only=True)
        return {
            NO_FILTER: lambda query: index.search_vectors(query.vector[None], K)[0],
            FILTER: lambda query: index.search_vectors(query.vector[None], K, where={"name": query.name})[0],
            AGAIN: lambda query: index.search_vectors(query.vector[None], K, where={"name": SAME})[0],
        }

    def read(hits: Any) -> list[Found]:
        return [Found(hit.id, hit.text, hit.metadata["name"], hit.metadata["number"]) for hit in hits]

    packages = {"lusirag": "lusirag", "faiss": "faiss-cpu", "duckdb": "duckdb"}
    return Store(("lusirag.index", "faiss"), packages, build, reopen, read)


def _langchain_embeddings(rows: Rows) -> Any:
    from langchain_core.embeddings import Embeddings

    class Lookup(Embeddings):
        def embed_documents(self, texts: list[str]) -> Any:
            return rows.encode_documents(texts)

        def embed_query(self, text: str) -> Any:
            return rows.encode_queries([text])[0]

    return Lookup()


def _langchain_build(folder: Path, rows: Rows, count: int) -> None:
    import faiss
    from langchain_community.docstore.in_memory import InMemoryDocstore
    from langchain_community.vectorstores import FAISS
    from langchain_core.documents import Document

    store = FAISS(_langchain_embeddings(rows), faiss.IndexFlatL2(DIMENSION), InMemoryDocstore(), {})
    for first in range(0, count, BATCH):
        batch = list(documents(min(first + BATCH, count), first))
        made = [
            Document(id=each.id, page_content=each.text, metadata={"name": each.name, "number": each.number})
            for each in batch
        ]
        store.add_documents(made, ids=[each.id for each in batch])
    store.save_local(str(folder))


def _langchain_open(folder: Path, rows: Rows, count: int) -> dict[str, Ask]:
    from langchain_community.vectorstores import FAISS

    store = FAISS.load_local(str(folder), _langchain_embeddings(rows), allow_dangerous_deserialization=True)
    search = store.similarity_search_with_score_by_vector

    def filtered(**settings: int) -> Ask:
        return lambda query: search(query.vector, K, filter={"name": query.name}, **settings)

    return {
        NO_FILTER: lambda query: search(query.vector, K),
        FILTER: filtered(),
        AGAIN: lambda query: search(query.vector, K, filter={"name": SAME}),
        MORE: filtered(fetch_k=ENOUGH),
        ALL: filtered(fetch_k=count),
    }


def _langchain_read(hits: Any) -> list[Found]:
    return [Found(hit.id, hit.page_content, hit.metadata["name"], hit.metadata["number"]) for hit, _ in hits]


def _txtai(**settings: Any) -> Store:
    def transform(rows: Rows) -> Any:
        return lambda texts: rows.encode_documents(texts)  # a plain function is what it takes

    def build(folder: Path, rows: Rows, count: int) -> None:
        from txtai import Embeddings

        store = Embeddings(method="external", transform=transform(rows), content=True, **settings)
        store.index(
            (each.id, {"text": each.text, "name": each.name, "number": each.number}, None) for each in documents(count)
        )
        store.save(str(folder))
        store.close()

    def reopen(folder: Path, rows: Rows, count: int) -> dict[str, Ask]:
        from txtai import Embeddings

        del count
        store = Embeddings()
        store.load(str(folder), config={"transform": transform(rows)})

        def asking(condition: str, name: str | None = None) -> Ask:
            statement = f"select id, text, name, number, score from txtai where {condition}"
            return lambda query: store.search(
                statement, K, parameters={"query": query.text, "name": name or query.name}
            )

        return {
            NO_FILTER: asking("similar(:query)"),
            FILTER: asking("similar(:query) and name = :name"),
            AGAIN: asking("similar(:query) and name = :name", SAME),
            MORE: asking(f"similar(:query, {ENOUGH}) and name = :name"),
        }

    def read(hits: Any) -> list[Found]:
        return [Found(hit["id"], hit["text"], hit["name"], hit["number"]) for hit in hits]

    return Store(("txtai", "faiss"), {"txtai": "txtai", "faiss": "faiss-cpu"}, build, reopen, read)


STORES = {
    "lusirag, flat": _lusirag("flat"),
    "lusirag, auto": _lusirag("auto"),
    "langchain": Store(
        (
            "langchain_community.docstore.in_memory",
            "langchain_community.vectorstores.faiss",
            "langchain_core.documents",
            "faiss",
        ),
        {"langchain_community": "langchain-community", "langchain_core": "langchain-core", "faiss": "faiss-cpu"},
        _langchain_build,
        _langchain_open,
        _langchain_read,
    ),
    "txtai": _txtai(),
    "txtai, flat": _txtai(faiss={"components": "IDMap,Flat"}),
}
