"""The index as users see it: documents go in, hits come out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy.typing as npt

from lusirag.index.analysis import Analyser, analyser_for
from lusirag.index.ann.records import DEFAULT_LATENCY_MS, RecallRecord
from lusirag.index.ann.tuning import measure
from lusirag.index.build import Build, CommitPolicy, OnDuplicate
from lusirag.index.create import Loader, embedder_for, new_index
from lusirag.index.deletion import delete_documents
from lusirag.index.filters import Where
from lusirag.index.fusion import Fusion, Method
from lusirag.index.given import with_vectors
from lusirag.index.incoming import as_batches
from lusirag.index.info import describe
from lusirag.index.language_report import LanguageReport
from lusirag.index.merge import compact
from lusirag.index.passages import PassageMaker
from lusirag.index.reports import AddReport, Progress, VerifyReport
from lusirag.index.requests import check_choice, check_search, checked_ids, checked_k, checked_queries, checked_sources
from lusirag.index.search import candidates, query_vectors, search_snapshot
from lusirag.index.snapshot import Snapshot, open_snapshot
from lusirag.index.state import State
from lusirag.index.stored import stored_documents, stored_vectors
from lusirag.index.token_counts import language_report
from lusirag.index.vectors import Storage
from lusirag.index.verify import verify_index
from lusirag.types import Document, Encoder, Hit, Vectors


class Index:
    """Documents and their vectors in a directory, searched by meaning.

    Any number of processes and threads may read. One process writes at a time, others who try get an error that names
    it; threads that change one object take turns. An object sees the state at the time it was opened and its own
    changes; open again to see those of others. Every change is durable when its method returns, and a crash at any
    moment leaves a state that was committed.
    """

    def __init__(self, state: State, embedder: Encoder | Loader | None) -> None:
        """Not for callers: use `Index.create` or `Index.open`."""
        self._state = state
        self._embedder = embedder if isinstance(embedder, Encoder) else None
        self._load = embedder if callable(embedder) else None
        self._terms: Analyser | None = None

    @classmethod
    def create(
        cls,
        path: str | Path,
        embedder: Encoder,
        *,
        chunk_tokens: int | None = None,
        overlap: int = 32,
        identify_languages: bool = True,
        lexical: bool | None = None,
        ann: str = "auto",
        memory: str | int | None = None,
        latency_ms: float = DEFAULT_LATENCY_MS,
        vectors: Storage = "float16",
        expected_passages: int | None = None,
        overwrite: bool = False,
        background: bool = False,
    ) -> Self:
        """Make an empty index.

        Args:
            path: a directory that does not exist, or is empty.
            embedder: the model that the index is for; its name and fingerprint are recorded.
            chunk_tokens: longest passage in tokens of the model; None takes what the model can read, so that nothing
                is cut; 0 never splits.
            overlap: tokens that neighbouring chunks of a document share.
            identify_languages: find out the language of documents that come without one.
            lexical: prepare lexical and hybrid search too; None does so where the embedder has a tokenizer.
            ann: how large segments are searched: "flat" (exactly), "hnsw", "ivf", "ivf-pq", "binary", a FAISS factory
                string, or "auto": exactly while that is quick, then the first of these that fits in `memory`.
            memory: what search may take of it, in bytes or as "2GB"; None for as much as it needs.
            latency_ms: what exact search of one query may take, roughly, before "auto" chooses another.
            vectors: what vectors are stored as: "float16"; "int8", half as large, a little less exact; or "float32".
            expected_passages: how many there will be, so that what cannot fit is refused before it is built.
            overwrite: replace an index that is at `path`.
            background: as for `open`.

        Raises:
            InvalidArgumentError: chunk_tokens or overlap out of range, lexical=True without a tokenizer, an ann or
                vectors that are not known, or passages that will not fit in `memory`.
            IndexStateError: the directory holds an index (without `overwrite`) or something else.
            StorageError: the directory cannot be written.
        """
        snapshot = new_index(
            Path(path),
            embedder,
            chunk_tokens=chunk_tokens,
            overlap=overlap,
            identify_languages=identify_languages,
            lexical=lexical,
            ann=ann,
            memory=memory,
            latency_ms=latency_ms,
            vectors=vectors,
            expected_passages=expected_passages,
            overwrite=overwrite,
        )
        return cls(State(snapshot, background=background), embedder)

    @classmethod
    def open(
        cls,
        path: str | Path,
        embedder: Encoder | Loader | None = None,
        *,
        read_only: bool = False,
        background: bool = False,
    ) -> Self:
        """Open an index.

        Args:
            path: its directory.
            embedder: the model it was made with, or what loads it when it is first needed, from the recorded name and
                the length that vectors are cut to, if they are; `Embedder.load` when None.
            read_only: refuse changes.
            background: let a change return when it is durable, and merge segments and build structures afterwards, in a
                thread of its own; searches find the same meanwhile. `wait` waits for it, and so does `close`.

        Raises:
            IndexStateError: not an index, damaged, of a newer format, or made with another model.
        """
        snapshot = open_snapshot(Path(path))
        if isinstance(embedder, Encoder):
            embedder_for(snapshot, embedder)
        return cls(State(snapshot, read_only=read_only, background=background), embedder)

    @property
    def path(self) -> Path:
        """The index directory."""
        return self._snapshot.directory

    @property
    def complete(self) -> bool:
        """False while a synchronisation has begun and not ended."""
        return self._snapshot.manifest.complete

    @property
    def embedder(self) -> Encoder:
        """The model of this index, loaded when it is first needed.

        Raises:
            ModelError: the model that is recorded cannot be loaded.
            IndexStateError: it is no longer the model that the index was made with.
        """
        if self._embedder is None:
            self._embedder = embedder_for(self._snapshot, self._load)
        return self._embedder

    @property
    def _analyser(self) -> Analyser | None:
        if self._terms is None:
            self._terms = analyser_for(self._snapshot.manifest.lexical, self.embedder)
        return self._terms

    def __len__(self) -> int:
        return self._snapshot.documents

    def add(
        self,
        documents: Any,
        *,
        vectors: npt.ArrayLike | None = None,
        on_duplicate: OnDuplicate = "replace",
        sources: Sequence[str] = (),
        progress: Progress | None = None,
        commit_passages: int = 4096,
    ) -> AddReport:
        """Add documents, or replace those with the same ids; what has not changed is not embedded again.

        They are read in the caller's thread, where `progress` is called too. The embedder is called in one of its own.

        Args:
            documents: an iterable of Document, of record batches, or a RecordBatch, Table or RecordBatchReader.
            vectors: (n, dim) of the n documents, computed elsewhere; they are brought to unit length. Then ids must
                differ, no document is split, and one that is there is replaced also where its text is the same.
            on_duplicate: for an id that is there already, in the index or earlier in this call: "replace" it (the
                later one wins), raise an "error", or "skip" the new one.
            sources: where they come from. An index that `synchronize` made records them after its own, so that it is
                not synchronised with those alone again, which would delete these documents; others record none.
            progress: called after each step with the report so far; its `committed` documents survive a crash.
            commit_passages: make the work durable after so many passages, and at least every 30 seconds.

        Raises:
            InvalidArgumentError: not documents, a column whose type does not fit the index, or vectors that do not.
            CorpusError: a document without id or text, or a duplicate with on_duplicate="error"; what came
                before stays in the index.
            IndexStateError: read-only, closed, or locked by another writer.
            StorageError: the disk is full or cannot be written; what was committed stays.
        """
        also = checked_sources(sources)
        batches, given = with_vectors(as_batches(documents), vectors, self._snapshot.manifest.embedder.dimension)
        return self._build(batches, commit_passages, on_duplicate, given, also=also, progress=progress)

    def synchronize(
        self,
        documents: Any,
        *,
        sources: Sequence[str],
        on_duplicate: OnDuplicate = "error",
        progress: Progress | None = None,
        commit_passages: int = 4096,
    ) -> AddReport:
        """Make the index hold exactly these documents.

        Interrupted, the same call goes on where it stopped. Called again, it embeds only what has changed. Documents
        that are no longer among `documents` are deleted at the very end, and so never by a run that failed.

        Args:
            documents, progress, commit_passages: as for `add`.
            sources: where they come from, recorded in the manifest.
            on_duplicate: for an id that comes twice in this call: raise an "error", "replace" it, or "skip" the other.

        Raises what `add` does.
        """
        exactly = checked_sources(sources)
        return self._build(as_batches(documents), commit_passages, on_duplicate, sources=exactly, progress=progress)

    def delete(self, ids: Iterable[str] | None = None, *, where: Where | None = None) -> int:
        """Delete documents with all their passages; return how many there were.

        Args:
            ids: which; unknown ids are no error. None means all that `where` lets through.
            where: a filter as for `search`: documents any of whose passages match; among `ids` when both are given.

        Raises:
            InvalidArgumentError: neither is given, or a filter that cannot be used.
            IndexStateError: read-only, closed, or locked by another writer.
            StorageError: the file system refuses; nothing is deleted.
        """
        wanted = None if ids is None else checked_ids(ids)
        with self._state.writing() as writer:
            return delete_documents(writer, wanted, where)

    def compact(self) -> None:
        """Rewrite the index without what is deleted, in as few segments as is sensible. Searching finds the same."""
        with self._state.writing() as writer:
            compact(writer)

    def verify(self) -> VerifyReport:
        """Check every byte of the index as it is on disk now; see `verify_index`."""
        return verify_index(self.path)

    def search(
        self,
        query: str,
        k: int = 10,
        mode: str = "dense",
        where: Where | None = None,
        languages: Sequence[str] | None = None,
        instruction: str | None = None,
        *,
        fusion: Fusion | Method = "weighted",
    ) -> list[Hit]:
        """Find the passages that answer a query best, best first.

        Args:
            query: a question or a few words in any language; what is longer than the model reads is cut.
            k: how many hits; all passages when there are fewer.
            mode: "dense", by meaning; "lexical", by words in common (BM25 over the model's pieces); "hybrid", both.
                Where too few pieces of the query occur in the index, "hybrid" goes by meaning alone and logs so.
            where: only passages that match: SQL such as "year >= 1990 AND language = 'de'", or a dict such as
                {"year": {"$gte": 1990}, "language": "de"} with $eq $neq $gt $gte $lt $lte $in $nin $contains $icontains
                $and $or $not, in which a null equals None alone. Columns: the user's own, id (the document's), title,
                language, source and text. See README, "Filters".
            languages: BCP 47 tags; only passages in one of them ("zh" includes "zh-Hant"). None searches all.
            instruction: what kind of passages to look for, for models that take one.
            fusion: how "hybrid" puts both rankings together: "weighted" by scores, "rrf" by ranks, or a `Fusion`.

        Raises:
            InvalidArgumentError: an empty query, k below 1, a mode, filter or language that is not there.
        """
        return self.search_many([query], k, mode, where, languages, instruction, fusion=fusion)[0]

    def search_many(
        self,
        queries: Sequence[str],
        k: int = 10,
        mode: str = "dense",
        where: Where | None = None,
        languages: Sequence[str] | None = None,
        instruction: str | None = None,
        *,
        fusion: Fusion | Method = "weighted",
    ) -> list[list[Hit]]:
        """Answer several queries at once; arguments and errors as for `search`, one list of hits a query."""
        snapshot = self._snapshot
        check_search(snapshot, queries, mode)
        k = checked_k(k)
        fusion = fusion if isinstance(fusion, Fusion) else Fusion(fusion)
        allowed = candidates(snapshot, languages, where)
        if not queries or not any(part.rows for part in allowed):
            return [[] for _ in queries]
        vectors = None if mode == "lexical" else query_vectors(self.embedder, queries, instruction)
        terms = None if mode == "dense" or self._analyser is None else self._analyser(queries)
        return search_snapshot(snapshot, allowed, k, vectors=vectors, terms=terms, fusion=fusion)

    def search_vectors(
        self,
        vectors: npt.ArrayLike,
        k: int = 10,
        *,
        where: Where | None = None,
        languages: Sequence[str] | None = None,
        queries: Sequence[str] | None = None,
        fusion: Fusion | Method = "weighted",
    ) -> list[list[Hit]]:
        """Search with query vectors (n, dim) that are at hand; with the n texts of the `queries` too, in mode "hybrid".

        Raises:
            InvalidArgumentError: wrong shape, a vector that is zero or not finite, or as for `search`.
        """
        snapshot = self._snapshot
        k = checked_k(k)
        unit = checked_queries(vectors, snapshot.manifest.embedder.dimension, queries)
        fusion = fusion if isinstance(fusion, Fusion) else Fusion(fusion)
        if queries is not None:
            check_search(snapshot, queries, "hybrid")
        allowed = candidates(snapshot, languages, where)
        terms = None if queries is None or self._analyser is None else self._analyser(queries)
        return search_snapshot(snapshot, allowed, k, vectors=unit, terms=terms, fusion=fusion)

    def get(self, ids: Iterable[str] | None = None, *, where: Where | None = None) -> list[Document]:
        """Documents by id, in that order without those that are not there, or by a filter, as `delete` takes them."""
        return stored_documents(self._snapshot, None if ids is None else checked_ids(ids), where)

    def vectors(self, hits: Sequence[Hit]) -> Vectors:
        """The vectors (n, dim) that are stored for the passages of some hits, in their order.

        Raises:
            IndexStateError: a passage is no longer in the index, as after a deletion.
        """
        return stored_vectors(self._snapshot, hits)

    def pinned(self) -> Self:
        """This index as it is now, read-only: what is written afterwards, here or elsewhere, does not change it."""
        load = None if self._embedder is not None else lambda *_: self.embedder
        return type(self)(State(self._snapshot, read_only=True), self._embedder or load)

    def info(self) -> dict[str, Any]:
        """What the index holds: documents, passages, languages (live passages each), columns, model, size and more."""
        return describe(self._snapshot)

    def language_report(self, *, sample: int | None = 1000, seed: int = 0) -> LanguageReport:
        """How well the model's tokenizer serves each language; see `token_counts.language_report`."""
        return language_report(self._snapshot, self.embedder, sample=sample, seed=seed)

    def measure_recall(
        self, queries: Sequence[str] | None = None, *, target: float | None = None, sample: int = 100, seed: int = 0
    ) -> RecallRecord:
        """Measure what approximate search misses, in each language of the documents, and record it.

        Args:
            queries: what users ask; None takes the first sentences of passages drawn at random.
            target: search harder, from now on, until recall@10 of the worst language reaches this share; where it
                cannot be reached, as hard as is sensible.
            sample, seed: how many passages of each language are drawn, and how.

        Raises:
            InvalidArgumentError: queries that are no text, a target outside 0 to 1, or sample below 1.
            IndexStateError: read-only, closed, locked by another writer, or damaged.
        """
        with self._state.writing() as writer:
            return measure(writer, self.embedder, queries, target=target, sample=sample, seed=seed)

    def wait(self) -> None:
        """Return when nothing is left to do in the background; raise what ended that, though no document is lost."""
        self._state.wait()

    def close(self) -> None:
        """Finish what is done in the background and let go of the files; further use raises IndexStateError."""
        self._state.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def _snapshot(self) -> Snapshot:
        return self._state.snapshot

    def _build(self, batches: Any, commit: int, on_duplicate: OnDuplicate, given: Any = None, **more: Any) -> AddReport:
        check_choice("on_duplicate", on_duplicate, ("replace", "error", "skip"))
        policy = CommitPolicy(passages=checked_k(commit, "commit_passages"))
        with self._state.writing() as writer:
            maker = PassageMaker.of(writer.snapshot.manifest, self.embedder, self._analyser, given)
            return Build(writer, maker, policy=policy, on_duplicate=on_duplicate, **more).run(batches)
