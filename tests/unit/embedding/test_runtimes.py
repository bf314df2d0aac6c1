"""Which runtime a model gets, and what is said when it cannot have the one that was asked for."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from lusirag import Embedder, Index
from lusirag.embedding import loading, onnx_runtime
from lusirag.embedding.onnx_export import export_onnx
from lusirag.embedding.onnx_runtime import OnnxRuntime, plan_runs
from lusirag.embedding.torch_runtime import TorchRuntime
from lusirag.errors import InvalidArgumentError, MissingDependencyError, ModelError

TEXTS = ["a", "Who may marry?", "кто может вступать в брак", "", "z" * 500, "한국어 문장", "the same", "the same"]


@pytest.fixture(scope="module")
def exported(tiny_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tiny model with its ONNX form."""
    out = tmp_path_factory.mktemp("exported")
    export_onnx(tiny_directory, out, graph_only=True)
    return out


@pytest.fixture
def without_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "onnxruntime" else found(name, *rest)
    )


def runtime_of(directory: Path, **settings: Any) -> type:
    return type(Embedder.load(directory, **settings)._runtime)


def test_onnx_is_chosen_on_a_cpu_where_the_model_has_that_form(exported: Path, tiny_directory: Path) -> None:
    assert runtime_of(exported, device="cpu") is OnnxRuntime
    assert runtime_of(exported, runtime="onnx") is OnnxRuntime
    assert runtime_of(tiny_directory) is TorchRuntime


@pytest.mark.parametrize("settings", [{"runtime": "torch"}, {"dtype": "float32"}, {"dtype": "bfloat16"}])
def test_torch_is_chosen_when_asked_for_or_with_a_dtype(exported: Path, settings: dict[str, str]) -> None:
    assert runtime_of(exported, **settings) is TorchRuntime


def test_a_gpu_is_preferred(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "has_gpu", lambda: True)
    assert runtime_of(exported) is TorchRuntime
    assert runtime_of(exported, device="cpu") is OnnxRuntime


@pytest.mark.usefixtures("without_onnxruntime")
def test_without_onnxruntime_torch_is_chosen_or_the_extra_named(exported: Path) -> None:
    assert runtime_of(exported, device="cpu") is TorchRuntime
    with pytest.raises(MissingDependencyError, match=r"lusirag\[cpu\]"):
        Embedder.load(exported, runtime="onnx")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"runtime": "abacus"}, "allowed: onnx, torch"),
        ({"runtime": "onnx", "dtype": "bfloat16"}, "together with dtype='bfloat16'"),
        ({"runtime": "onnx", "device": "cuda"}, "together with device='cuda'"),
        ({"device": "cuda:99"}, "cuda:99"),
    ],
)
def test_settings_that_do_not_go_together(exported: Path, settings: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Embedder.load(exported, **settings)  # type: ignore[arg-type]


def test_a_model_without_the_form_names_the_command(tiny_directory: Path) -> None:
    with pytest.raises(ModelError, match="lusirag models export"):
        Embedder.load(tiny_directory, runtime="onnx")


def test_a_graph_of_another_model_is_refused_in_words(
    exported: Path, tmp_path: Path, save_tiny_model: Callable[..., Path]
) -> None:
    other = save_tiny_model(tmp_path / "other", added_tokens=0)
    for name in ("model.onnx", "model_uint8.onnx"):
        shutil.copyfile(exported / name, other / name)
        with pytest.raises(ModelError, match=r"does not fit the weights"):
            Embedder.load(other, runtime="onnx")


def test_the_graph_for_cpus_whose_sums_may_overflow(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older, broken = tmp_path / "older", tmp_path / "broken"
    shutil.copytree(exported, older)
    (older / "model_uint8.onnx").unlink()  # earlier versions did not write it
    signed = Embedder.load(older, runtime="onnx").encode_documents(TEXTS)
    shutil.copytree(exported, broken)
    (broken / "model_uint8.onnx").write_bytes(b"no graph")
    monkeypatch.setattr(onnx_runtime, "sums_may_overflow", lambda: True)
    unsigned = Embedder.load(exported, runtime="onnx").encode_documents(TEXTS)
    np.testing.assert_allclose(unsigned, signed, atol=1e-6, rtol=0)
    np.testing.assert_allclose(Embedder.load(older, runtime="onnx").encode_documents(TEXTS), signed, atol=1e-6, rtol=0)
    with pytest.raises(ModelError, match=r"model_uint8\.onnx does not fit the weights"):
        Embedder.load(broken, runtime="onnx")
    monkeypatch.setattr(onnx_runtime, "sums_may_overflow", lambda: False)
    Embedder.load(broken, runtime="onnx")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: [file.write_bytes(b"no graph") for file in folder.glob("*.onnx")], "does not fit the weights"),
        (lambda folder: (folder / "smoothing.safetensors").write_bytes(b"no tensors"), "smoothing.safetensors cannot"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x00" * 7), "model.safetensors cannot be read"),
        (lambda folder: (folder / "model.safetensors").unlink(), "lacks model.safetensors"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "lacks tokenizer.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json cannot be read"),
    ],
)
def test_damaged_files_are_named(
    exported: Path, tmp_path: Path, change: Callable[[Path], object], message: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    change(copy)
    with pytest.raises(ModelError, match=message):
        Embedder.load(copy, device="cpu")


def test_a_missing_weight_is_named(exported: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    weights = load_file(copy / "model.safetensors")
    del weights["connector.feed_forward.0.weight"]
    save_file(weights, copy / "model.safetensors")
    with pytest.raises(ModelError, match=r"1 missing: connector\.feed_forward\.0\.weight"):
        Embedder.load(copy, runtime="onnx")


def test_cut_weights_are_refused(exported: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    (copy / "model.safetensors").write_bytes((copy / "model.safetensors").read_bytes()[:-100])
    with pytest.raises(ModelError, match="is cut short"):
        Embedder.load(copy, runtime="onnx")


def test_the_fingerprint_is_the_models_not_the_runtimes(exported: Path, tiny_directory: Path, tmp_path: Path) -> None:
    by_torch, by_onnx = (Embedder.load(exported, runtime=runtime) for runtime in ("torch", "onnx"))
    assert by_torch.fingerprint == by_onnx.fingerprint == Embedder.load(tiny_directory).fingerprint
    for first, second in ((by_torch, by_onnx), (by_onnx, by_torch)):
        path = tmp_path / type(first._runtime).__name__
        Index.create(path, first)
        Index.open(path, second)


def test_vectors_keep_their_promises(exported: Path) -> None:
    embedder = Embedder.load(exported, runtime="onnx")
    vectors = embedder.encode_documents(TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    for text, vector in zip(TEXTS, vectors, strict=True):
        np.testing.assert_allclose(embedder.encode_documents([text])[0], vector, atol=1e-5)
    assert embedder.encode_documents([]).shape == (0, 32)


def test_threads_share_a_runtime(exported: Path) -> None:
    embedder = Embedder.load(exported, runtime="onnx")
    texts = [f"text number {number} " * (1 + number % 3) for number in range(60)]
    expected, results = embedder.encode_documents(texts), {}

    def work(number: int) -> None:
        results[number] = embedder.encode_documents(texts)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for vectors in results.values():
        np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_a_run_has_one_length_and_every_row_one_run() -> None:
    lengths = np.random.default_rng(1).integers(1, 600, 300)
    runs = list(plan_runs(lengths))
    assert sorted(np.concatenate(runs).tolist()) == list(range(300))
    for rows in runs:
        assert len(set(lengths[rows])) == 1
        assert len(rows) == 1 or lengths[rows].sum() <= 256


def test_export_says_what_is_missing(tiny_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "onnx" else found(name, *rest))
    with pytest.raises(MissingDependencyError, match=r"lusirag\[export\]"):
        export_onnx(tiny_directory, tmp_path)


@pytest.mark.parametrize(("capabilities", "warned"), [({"avx2": True}, True), ({"amx_bf16": True}, False)])
def test_bfloat16_is_warned_of_where_the_cpu_has_no_instructions_for_it(
    tiny_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capabilities: dict[str, bool],
    warned: bool,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    Embedder.load(tiny_directory, device="cpu", dtype="bfloat16")
    assert ("cpu has no bfloat16 instructions" in caplog.text) is warned
