"""Reading goes on while passages are embedded, by a bounded lead, and whatever ends a run leaves order behind."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from fake_embedder import FakeEmbedder, WordEmbedder, document, documents
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lusirag.errors import CorpusError, ModelError
from lusirag.index import AddReport, Index
from lusirag.index.build import CommitPolicy
from lusirag.index.pipeline import AHEAD
from lusirag.types import Document, Vectors

PIECE = 256  # documents, of one passage each
PATIENCE = 20.0


class Scripted(FakeEmbedder):
    """Does something before the n-th piece, and remembers in which threads it was called."""

    def __init__(self, before: Callable[[int], None]) -> None:
        super().__init__()
        self.before = before
        self.calls = 0
        self.threads: set[threading.Thread] = set()

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        self.threads.add(threading.current_thread())
        self.calls += 1
        self.before(self.calls)
        return super().encode_documents(texts)


@pytest.fixture(autouse=True)
def ctrl_c_is_heeded() -> Iterator[None]:
    """Whoever starts the tests in the background of a shell starts them with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def wait_for(event: threading.Event) -> None:
    if not event.wait(PATIENCE):
        raise TimeoutError


def interrupt() -> None:
    """Ctrl-C."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    time.sleep(0.2)


def made(path: Path, embedder: FakeEmbedder) -> Index:
    return Index.create(path / "index", embedder, identify_languages=False)


def test_the_next_documents_are_read_while_some_are_embedded(tmp_path: Path) -> None:
    read_on = threading.Event()

    def source() -> Iterator[Document]:
        yield from documents(range(PIECE))
        read_on.set()
        yield from documents(range(PIECE, 2 * PIECE))

    embedder = Scripted(lambda call: wait_for(read_on))
    index = made(tmp_path, embedder)
    told: set[threading.Thread] = set()
    report = index.add(source(), progress=lambda report: told.add(threading.current_thread()))
    assert report == AddReport(documents=512, committed=512, added=512, passages=512)
    assert len(embedder.threads) == 1
    assert told == {threading.main_thread()}


def test_terms_are_counted_while_vectors_are_computed(tmp_path: Path) -> None:
    counted = threading.Event()
    embedder = WordEmbedder()
    index = Index.create(tmp_path / "index", embedder)
    analyser = index._analyser
    assert analyser is not None

    def analyse(texts: Sequence[str]) -> object:
        counted.set()
        return analyser(texts)

    def encode(texts: Sequence[str]) -> Vectors:
        wait_for(counted)
        return FakeEmbedder.encode_documents(embedder, texts)

    index._terms = analyse  # type: ignore[assignment]
    embedder.encode_documents = encode  # type: ignore[method-assign]
    index.add([Document("a", "ant bee", language="en")])
    assert [hit.id for hit in index.search("bee", mode="lexical")] == ["a"]


def test_reading_gets_no_further_ahead_than_it_may(tmp_path: Path) -> None:
    most = (AHEAD + 1) * PIECE  # the last of them waits to be sent
    far = threading.Event()
    read = 0
    leads: list[int] = []

    def before(call: int) -> None:
        wait_for(far)
        time.sleep(0.05)  # in which a source without a bound would be read to its end

    embedder = Scripted(before)

    def source() -> Iterator[Document]:
        nonlocal read
        for each in documents(range(12 * PIECE)):
            read += 1
            leads.append(read - len(embedder.embedded))
            if read == most:
                far.set()
            yield each

    assert made(tmp_path, embedder).add(source()).added == 12 * PIECE
    assert max(leads) == most


def test_an_error_of_the_embedder_is_raised_as_itself(tmp_path: Path) -> None:
    def before(call: int) -> None:
        if call == 3:
            raise ModelError("the third piece")

    index = made(tmp_path, Scripted(before))
    with pytest.raises(ModelError, match="the third piece") as raised:
        index.add(documents(range(8 * PIECE)))
    assert "before" in [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert {hit.id for hit in index.search("x", k=10_000)} == {f"d{number}" for number in range(2 * PIECE)}
    assert index.verify().ok


def test_an_error_of_the_embedder_comes_before_one_of_what_was_read_later(tmp_path: Path) -> None:
    failed = threading.Event()

    def before(call: int) -> None:
        if call == 2:
            wait_for(failed)
            raise ModelError("the second piece")

    def source() -> Iterator[Document]:
        yield from documents(range(2 * PIECE))
        failed.set()
        raise CorpusError("what follows")

    index = made(tmp_path, Scripted(before))
    with pytest.raises(ModelError, match="the second piece"):
        index.add(source())
    assert len(index) == PIECE


def test_what_was_read_before_an_error_is_embedded(tmp_path: Path) -> None:
    index = made(tmp_path, Scripted(lambda call: time.sleep(0.05)))
    twice = [*documents(range(3 * PIECE)), document(1, 5)]
    with pytest.raises(CorpusError, match="'d1' is in the index already"):
        index.add(twice, on_duplicate="error")
    assert len(index) == 3 * PIECE


def test_an_error_of_the_caller_s_own_progress_embeds_no_more(tmp_path: Path) -> None:
    def progress(report: AddReport) -> None:
        if report.passages:
            raise ValueError("enough")

    index = made(tmp_path, Scripted(lambda call: time.sleep(0.05)))
    with pytest.raises(ValueError, match="enough"):
        index.add(documents(range(8 * PIECE)), progress=progress)
    assert len(index) == PIECE


@pytest.mark.skipif(sys.platform == "win32", reason="needs pthread_kill")
def test_ctrl_c_while_passages_are_embedded_keeps_these_and_no_more(tmp_path: Path) -> None:
    embedder = Scripted(lambda call: interrupt() if call == 2 else None)
    index = made(tmp_path, embedder)
    with pytest.raises(KeyboardInterrupt):
        index.add(documents(range(8 * PIECE)))
    assert len(index) == len(embedder.embedded) == 2 * PIECE
    assert index.verify().ok
    assert index.add(documents(range(8 * PIECE))).unchanged == 2 * PIECE


@pytest.mark.skipif(sys.platform == "win32", reason="needs pthread_kill")
def test_ctrl_c_while_waiting_for_the_source(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    waiting = threading.Event()

    def source() -> Iterator[Document]:
        yield from documents(range(PIECE))
        waiting.set()
        os.read(ours, 1)  # nobody writes

    def before(call: int) -> None:
        wait_for(waiting)
        time.sleep(0.05)
        interrupt()

    index = made(tmp_path, Scripted(before))
    with pytest.raises(KeyboardInterrupt):
        index.add(source())
    os.close(ours)
    os.close(theirs)
    assert len(index) == PIECE


@pytest.mark.skipif(sys.platform == "win32", reason="needs pthread_kill")
def test_ctrl_c_is_what_is_raised_when_the_embedder_fails_then(tmp_path: Path) -> None:
    def before(call: int) -> None:
        if call == 2:
            interrupt()
            raise ModelError("interrupted too")

    index = made(tmp_path, Scripted(before))
    with pytest.raises(KeyboardInterrupt):
        index.add(documents(range(8 * PIECE)))
    assert len(index) == PIECE


def test_a_slow_source_does_not_keep_what_is_done_from_being_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lusirag.index.index.CommitPolicy", partial(CommitPolicy, seconds=0))
    index = made(tmp_path, FakeEmbedder())
    durable: list[int] = []

    def source() -> Iterator[pa.RecordBatch]:
        for number in range(4):
            durable.append(len(Index.open(index.path, FakeEmbedder(), read_only=True)))
            yield one(number, 0)

    reports: list[AddReport] = []
    index.add(source(), progress=reports.append)
    assert durable == [0, 1, 2, 3]
    assert [report.committed for report in reports if report.documents == 3][-1] == 3


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), max_size=24),
    st.sampled_from(["replace", "skip", "error", "sync"]),
    st.integers(1, 9),
)
@example([(2, 0), (2, 1), (2, 1)], "replace", 9)  # both on their way
@example([(2, 0), (3, 0), (3, 1), (3, 2), (2, 1), (2, 1)], "replace", 9)  # one waits for the commit, one is on its way
def test_versions_that_overtake_each_other_end_as_one_after_another(
    given_pairs: list[tuple[int, int]], mode: str, commit_passages: int
) -> None:
    start = {0: 0, 1: 0}
    expected, report, failed_at = one_after_another(given_pairs, mode, start)
    all_read = len(given_pairs) if failed_at is None else failed_at + 1
    read = all_read

    def before(call: int) -> None:  # as many as may be are on their way before the first is embedded
        begun = time.monotonic()
        while read < min(all_read, call + AHEAD - 1):
            time.sleep(1e-4)
            assert time.monotonic() < begun + PATIENCE

    def source() -> Iterator[pa.RecordBatch]:
        nonlocal read
        for pair in given_pairs:
            read += 1
            yield one(*pair)

    with tempfile.TemporaryDirectory() as folder:
        embedder = Scripted(before)
        index = made(Path(folder), embedder)
        index.add(documents(list(start)))
        read, embedder.calls = 0, 0
        try:
            if mode == "sync":
                done = index.synchronize(source(), sources=["s"], on_duplicate="skip", commit_passages=commit_passages)
            else:
                done = index.add(source(), on_duplicate=mode, commit_passages=commit_passages)  # type: ignore[arg-type]
        except CorpusError:
            assert failed_at is not None
        else:
            assert failed_at is None
            assert done == report
        rows = [name for segment in index._snapshot.segments for name in live(segment)]
        assert rows == [f"d{number}" for number in expected]
        assert {found.id: found.text for found in index.get(rows)} == {
            f"d{number}": f"text {number} version {version}" for number, version in expected.items()
        }


def one_after_another(
    pairs: list[tuple[int, int]], mode: str, start: dict[int, int]
) -> tuple[dict[int, int], AddReport, int | None]:
    """What an index holds, in the order of its rows, when each document is done with before the next is looked at.

    The last: which document is refused, and ends the run.
    """
    model = dict(start)
    seen: set[int] = set() if mode == "sync" else set(start)
    counts = dict.fromkeys(("added", "replaced", "unchanged", "skipped", "deleted"), 0)
    for place, (number, version) in enumerate(pairs):
        if number in seen and mode == "error":
            return model, AddReport(), place
        if number in seen and mode in ("skip", "sync"):
            counts["skipped"] += 1
        elif model.get(number) == version:
            counts["unchanged"] += 1
        else:
            counts["replaced" if number in model else "added"] += 1
            model.pop(number, None)
            model[number] = version
        seen.add(number)
    if mode == "sync":
        counts["deleted"] = len(set(model) - seen)
        model = {number: version for number, version in model.items() if number in seen}
    passages = counts["added"] + counts["replaced"]
    return model, AddReport(documents=len(pairs), committed=len(pairs), passages=passages, **counts), None


def one(number: int, version: int) -> pa.RecordBatch:
    """A batch of one document."""
    text, language = f"text {number} version {version}", ("en", "de", "zh-Hant")[number % 3]
    return pa.RecordBatch.from_pydict({"id": [f"d{number}"], "text": [text], "language": [language]})


def live(segment: object) -> list[str]:
    deleted = segment.deleted.tolist()  # type: ignore[attr-defined]
    return [segment.documents.document_id(row) for row, gone in enumerate(deleted) if not gone]  # type: ignore[attr-defined]
