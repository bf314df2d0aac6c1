"""`IndexSearch`: a lusirag `Index` as a model that mteb evaluates on retrieval and reranking, as it is on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

from lusirag.errors import InvalidArgumentError
from lusirag.evaluation.benchmark.instructed import InstructedEncoder, checked_instructions
from lusirag.evaluation.benchmark.metadata import model_meta
from lusirag.index import Index
from lusirag.index.ann.kinds import checked_kind
from lusirag.types import Document, Encoder, Hit, Vectors

if TYPE_CHECKING:
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.models.model_meta import ModelMeta

Row = Mapping[str, Any]
Scores = dict[str, float]  # {document id: score}, larger is better

MODES = {"dense": "dense", "lexical": "sparse", "hybrid": "hybrid"}  # with mteb's words for them
_QUERIES_AT_ONCE = 64  # their hits, texts included, are in memory together
_WIDER = 4


class IndexSearch:
    """mteb's view of an index (its `SearchProtocol`): each corpus becomes an `Index`, which answers its queries.

    So what is measured is what a user gets: stored vectors, the ANN structure, long documents in chunks, words besides
    meaning. A document's score is that of its best chunk. The index lies in a temporary directory, which is gone when
    the next corpus comes and after `close`, or at the end of a `with` block; the object can be used again afterwards.

    Args:
        encoder, instructions: as for `BenchmarkEncoder`.
        ann, chunk_tokens: as for `Index.create`.
        mode: "dense", "lexical" or "hybrid", as for `Index.search`.
        directory: where the temporary directory is made; the system's place when None.

    Raises:
        InvalidArgumentError: not an encoder, instructions, mode or ann; a chunk_tokens that is not allowed is refused
            when the first corpus comes.
        MissingDependencyError: mteb is not installed.
    """

    def __init__(
        self,
        encoder: Encoder,
        instructions: Mapping[str, str | None] | None = None,
        *,
        ann: str = "auto",
        mode: str = "dense",
        chunk_tokens: int | None = None,
        directory: Path | None = None,
    ) -> None:
        if not isinstance(encoder, Encoder):
            raise InvalidArgumentError(
                f"encoder is {encoder!r}; it must be an Embedder or another lusirag.types.Encoder"
            )
        if mode not in MODES:
            raise InvalidArgumentError(f"mode is {mode!r}; allowed: {', '.join(MODES)}")
        self.encoder = encoder
        self.instructions = checked_instructions(instructions)
        checked_kind(ann, encoder.dimension)
        self._ann, self._mode, self._chunk_tokens = ann, mode, chunk_tokens
        self._directory = directory
        self._place: TemporaryDirectory[str] | None = None
        self._index: Index | None = None
        self._ids: list[str] = []  # mteb's, by position; the index has the positions, so that any id will do
        self._passages = 0
        chunks = {} if chunk_tokens is None else {"chunk_tokens": chunk_tokens}
        meta = model_meta(encoder, self.instructions, ann=ann, mode=mode, **chunks)
        self._meta = meta.model_copy(update={"model_type": [MODES[mode]]})

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """Under what mteb keeps results; its experiment names the ANN kind and the mode."""
        return self._meta

    def index(
        self, corpus: Iterable[Row], *, task_metadata: TaskMetadata, hf_split: str, hf_subset: str, **kwargs: Any
    ) -> None:
        """Build the index of a corpus.

        Args:
            corpus: rows with "id", "text" and perhaps "title". Those without any text cannot be found and are left out.
            task_metadata: its name finds the instruction.
            hf_split, hf_subset, kwargs: not needed.

        Raises:
            LusiragError: what `Index.create` and `Index.add` raise.
        """
        self.close()
        self._place = TemporaryDirectory(prefix="lusirag-benchmark-", dir=self._directory)
        self._index = Index.create(
            Path(self._place.name) / "index",
            InstructedEncoder(self.encoder, self.instructions.get(task_metadata.name)),
            ann=self._ann,
            lexical=self._mode != "dense",
            chunk_tokens=self._chunk_tokens,
            identify_languages=False,
        )
        self._passages = self._index.add(self._documents(corpus)).passages

    def search(
        self,
        queries: Iterable[Row],
        *,
        task_metadata: TaskMetadata,
        hf_split: str,
        hf_subset: str,
        top_k: int,
        top_ranked: Mapping[str, Sequence[str]] | None = None,
        **kwargs: Any,
    ) -> dict[str, Scores]:
        """Answer queries from the corpus that was indexed last.

        Args:
            queries: rows with "id", "text" and perhaps "instruction", which is joined to the text as mteb does it.
            task_metadata, hf_split, hf_subset, kwargs: not needed; the index was made for the task.
            top_k: how many documents of each query.
            top_ranked: {query id: document ids}, for reranking: all these are ranked, and nothing else. Those that the
                search passes over, because they share no word with the query, come after the others, all equal.

        Returns:
            {query id: {document id: score}}; a query without any text finds nothing.

        Raises:
            InvalidArgumentError: nothing is indexed, or a query is no text.
        """
        if self._index is None:
            raise InvalidArgumentError("nothing is indexed; call index(corpus, ...) before search")
        texts = {str(row["id"]): _query_text(row) for row in queries}
        results: dict[str, Scores] = {name: {} for name in texts}
        asked = [name for name, text in texts.items() if text.strip()]
        positions = {} if top_ranked is None else {name: str(at) for at, name in enumerate(self._ids)}
        for start in range(0, len(asked), _QUERIES_AT_ONCE):
            names = asked[start : start + _QUERIES_AT_ONCE]
            some = [texts[name] for name in names]
            vectors = None if self._mode == "lexical" else self._index.embedder.encode_queries(some)
            if top_ranked is None:
                found = self._best(some, vectors, top_k)
                results.update(zip(names, found, strict=True))
                continue
            for at, name in enumerate(names):
                vector = None if vectors is None else vectors[at : at + 1]
                wanted = {positions[document]: document for document in top_ranked.get(name, ())}
                results[name] = self._ranked(some[at], vector, wanted, top_k)
        return results

    def close(self) -> None:
        """Delete the index, if there is one."""
        if self._index is not None:
            self._index.close()
        self._index, self._ids, self._passages = None, [], 0
        if self._place is not None:
            self._place.cleanup()
            self._place = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _documents(self, corpus: Iterable[Row]) -> Iterator[Document]:
        for row in corpus:
            self._ids.append(str(row["id"]))
            if text := _document_text(row):
                yield Document(id=str(len(self._ids) - 1), text=text)

    def _look(self, queries: list[str], vectors: Vectors | None, k: int, where: Any = None) -> list[list[Hit]]:
        """The k best passages of each query, fewer only where there are no more."""
        index = self._index
        if index is None:
            return [[] for _ in queries]
        if vectors is None:
            return index.search_many(queries, k, "lexical", where)
        return index.search_vectors(vectors, k, where=where, queries=queries if self._mode == "hybrid" else None)

    def _best(self, queries: list[str], vectors: Vectors | None, k: int) -> list[Scores]:
        """The k best documents of each query: the search goes on while one document's chunks crowd out others."""
        depth = k
        hits = self._look(queries, vectors, depth)
        while short := [at for at, some in enumerate(hits) if len(some) == depth and len(_by_document(some)) < k]:
            depth *= _WIDER
            rows = None if vectors is None else vectors[short]
            for at, more in zip(short, self._look([queries[at] for at in short], rows, depth), strict=True):
                hits[at] = more
        return [
            {self._ids[int(position)]: score for position, score in list(_by_document(some).items())[:k]}
            for some in hits
        ]

    def _ranked(self, query: str, vector: Vectors | None, wanted: Mapping[str, str], k: int) -> Scores:
        """Those documents, {position: id}, by their scores."""
        if not wanted:
            return {}
        hits = self._look([query], vector, max(self._passages, 1), {"id": {"$in": list(wanted)}})[0]
        scores = _by_document(hits)
        last = min(scores.values(), default=0.0) - 1.0
        scores.update({position: last for position in wanted if position not in scores})
        return {wanted[position]: score for position, score in list(scores.items())[:k]}


def _by_document(hits: Iterable[Hit]) -> Scores:
    """The score of each document's best passage, best first."""
    best: Scores = {}
    for hit in hits:
        best.setdefault(hit.document_id, float(hit.score))
    return best


def _document_text(row: Row) -> str:
    """Title and text joined by a space, as mteb joins them for encoders."""
    title, text = row.get("title") or "", row["text"] or ""
    return f"{title} {text}".strip()


def _query_text(row: Row) -> str:
    """The text, and the query's own instruction after it where it has one.

    Raises:
        InvalidArgumentError: the query is a conversation.
    """
    text = row["text"]
    if not isinstance(text, str):
        raise InvalidArgumentError(
            f"query {row['id']!r} is of type {type(text).__name__}; an index answers texts, run it by BenchmarkEncoder"
        )
    instruction = row.get("instruction")
    return text if instruction is None else f"{text} {instruction}"
