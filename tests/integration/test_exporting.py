"""Exported directories: opened by us, by sentence-transformers, uploaded to the hub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import HfApi
from sentence_transformers import SentenceTransformer

from lusirag.embedding import Embedder
from lusirag.embedding.exporting import export_model, export_sentence_transformers, push_to_hub
from lusirag.errors import InvalidArgumentError, ModelError

TEXTS = ["one short text", "", "другой текст, длиннее первого " * 3, "a </s> b"]


@pytest.mark.parametrize("model", ["tiny", "lusifer-mini"])
def test_sentence_transformers_gives_the_same_vectors(model: str, tiny_directory: Path, tmp_path: Path) -> None:
    source = tiny_directory if model == "tiny" else model
    embedder = Embedder.load(source, dtype="float32")
    export_sentence_transformers(source, tmp_path / "exported")
    opened = SentenceTransformer(str(tmp_path / "exported"), trust_remote_code=True, local_files_only=True)
    queries, documents = opened.encode_query(TEXTS), opened.encode_document(TEXTS, batch_size=2)
    assert queries.dtype == np.float32
    np.testing.assert_allclose(queries, embedder.encode_queries(TEXTS), atol=1e-5)
    np.testing.assert_allclose(documents, embedder.encode_documents(TEXTS), atol=1e-5)
    np.testing.assert_allclose(opened.encode(TEXTS), documents, atol=1e-5)
    assert opened.get_embedding_dimension() == embedder.dimension


def test_sentence_transformers_saves_what_it_opened(tiny_directory: Path, tmp_path: Path) -> None:
    export_sentence_transformers(tiny_directory, tmp_path / "exported")
    opened = SentenceTransformer(str(tmp_path / "exported"), trust_remote_code=True, local_files_only=True)
    opened.save(str(tmp_path / "saved"))
    again = SentenceTransformer(str(tmp_path / "saved"), trust_remote_code=True, local_files_only=True)
    np.testing.assert_allclose(again.encode_query(TEXTS), opened.encode_query(TEXTS), atol=1e-6)
    np.testing.assert_allclose(
        Embedder.load(tmp_path / "saved").encode_queries(TEXTS), opened.encode_query(TEXTS), atol=1e-5
    )


def test_a_template_that_ends_after_the_text_cannot_be_expressed(
    tmp_path: Path, save_tiny_model: Callable[..., Path]
) -> None:
    directory = save_tiny_model(tmp_path / "model", templates={"query": "{text} ?", "document": "{text}"})
    with pytest.raises(ModelError, match=r"writes ' \?' after a text"):
        export_sentence_transformers(directory, tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


@pytest.mark.parametrize(("bits", "cosine"), [(None, 0.999999), (8, 0.999)])
def test_an_exported_model_embeds_as_its_source(tmp_path: Path, bits: int | None, cosine: float) -> None:
    export_model("lusifer-mini", tmp_path / "exported", bits=bits)
    ours, theirs = Embedder.load("lusifer-mini", dtype="float32"), Embedder.load(tmp_path / "exported", dtype="float32")
    similarity = (ours.encode_documents(TEXTS) * theirs.encode_documents(TEXTS)).sum(axis=1)
    assert similarity.min() > cosine
    assert (tmp_path / "exported" / "README.md").is_file()


def test_a_folder_that_holds_something_is_left_alone(tiny_directory: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InvalidArgumentError, match="is not an empty folder"):
        export_model(tiny_directory, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_push_to_hub_uploads_the_directory(
    tiny_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, str]] = []
    monkeypatch.setattr(HfApi, "create_repo", lambda self, repository, **_: calls.append(("create", repository)))
    monkeypatch.setattr(
        HfApi, "upload_folder", lambda self, *, repo_id, folder_path, **_: calls.append((repo_id, str(folder_path)))
    )
    export_model(tiny_directory, tmp_path / "exported")
    assert push_to_hub(tmp_path / "exported", "owner/name") == "https://huggingface.co/owner/name"
    assert calls == [("create", "owner/name"), ("owner/name", str(tmp_path / "exported"))]


def test_push_to_hub_without_a_hub_is_an_error_in_words(tiny_directory: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is no model directory; export a model there first"):
        push_to_hub(tmp_path, "owner/name")
