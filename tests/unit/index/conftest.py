from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from books import BOOKS
from fake_embedder import FakeEmbedder

from lusirag.index import Index, build, gpu
from lusirag.index.ann import kinds, nearest
from lusirag.index.engine import load_faiss


@pytest.fixture
def small_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Segments of 300 passages get a structure; FAISS has one thread, and no device was chosen or has failed."""
    monkeypatch.setattr(kinds, "SMALLEST_SEGMENT", 300)
    monkeypatch.setattr(nearest, "EXACT_ROWS", 40)
    monkeypatch.setattr(gpu._Warned, "failed", False)
    monkeypatch.delenv(gpu.VARIABLE, raising=False)
    faiss = load_faiss()
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(threads)


@pytest.fixture
def embedder() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
def index(tmp_path: Path, embedder: FakeEmbedder) -> Iterator[Index]:
    with Index.create(tmp_path / "index", embedder) as index:
        yield index


@pytest.fixture
def all_in_background(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of 64 passages get a structure, and an index that works in the background merges nothing before."""
    monkeypatch.setattr(kinds, "SMALLEST_SEGMENT", 64)
    monkeypatch.setattr(nearest, "EXACT_ROWS", 32)
    monkeypatch.setattr(build, "AT_ONCE", 0)


@pytest.fixture
def index_in_background(tmp_path: Path, embedder: FakeEmbedder, all_in_background: None) -> Iterator[Index]:
    path = tmp_path / "index"
    with Index.create(path, embedder, ann="hnsw", identify_languages=False, background=True) as index:
        yield index


@pytest.fixture(scope="session")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """BOOKS in two segments; not to be changed."""
    with Index.create(tmp_path_factory.mktemp("books") / "index", FakeEmbedder(), identify_languages=False) as index:
        index.add(BOOKS[:5])
        index.add(BOOKS[5:])
        assert index.info()["segments"] == 2
        yield index
