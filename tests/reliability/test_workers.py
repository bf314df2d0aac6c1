"""Worker processes: right, in order, and gone afterwards, however the work ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from lusirag.embedding import Embedder
from lusirag.errors import InvalidArgumentError, ModelError
from lusirag.index import Index
from lusirag.types import Document

TEXTS = [f"text number {number} " * (1 + number % 5) for number in range(40)]
PATIENCE = 60.0


@pytest.fixture
def workers(tiny_directory: Path) -> Iterator[Embedder]:
    with Embedder.load(tiny_directory, devices=["cpu", "cpu"], batch_tokens=64) as embedder:
        yield embedder


def children(of: int | None = None) -> list[psutil.Process]:
    found = psutil.Process(of).children(recursive=True)
    return [child for child in found if "lusirag.embedding.worker" in " ".join(child.cmdline())]


def wait_until_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE)
    assert alive == []


def test_several_devices_give_the_vectors_of_one(workers: Embedder, tiny_directory: Path) -> None:
    assert workers.arithmetic == "torch-float32"
    expected = Embedder.load(tiny_directory).encode_documents(TEXTS)
    np.testing.assert_allclose(workers.encode_documents(TEXTS), expected, atol=1e-5)
    started = children()
    assert len(started) == 2
    workers.encode_queries(TEXTS[:3])
    assert children() == started  # started once


def test_an_index_is_built_with_several_devices_as_with_one(
    workers: Embedder, tiny_directory: Path, tmp_path: Path
) -> None:
    documents = [Document(f"d{number}", TEXTS[number % 40], language="en") for number in range(600)]
    one, several = (
        Index.create(tmp_path / name, embedder)
        for name, embedder in (("one", Embedder.load(tiny_directory)), ("several", workers))
    )
    assert one.add(documents) == several.add(documents)
    expected, found = ({hit.id: hit.score for hit in index.search("text number 7", k=600)} for index in (one, several))
    assert len(found) == 600
    assert found == pytest.approx(expected, abs=1e-5)


def test_closing_ends_the_workers(tiny_directory: Path) -> None:
    embedder = Embedder.load(tiny_directory, devices=["cpu"])
    started = children()
    assert len(started) == 1
    embedder.close()
    wait_until_gone(started)
    with pytest.raises(ModelError, match="are closed; load it again"):
        embedder.encode_queries(["a"])


def test_a_worker_that_dies_is_an_error_in_words_and_leaves_none(tiny_directory: Path) -> None:
    embedder = Embedder.load(tiny_directory, devices=["cpu", "cpu"])
    started = children()
    started[0].kill()
    with pytest.raises(ModelError, match=r"worker process of the embedder ended by itself \(exit code -9\)|are closed"):
        embedder.encode_documents(TEXTS)
    wait_until_gone(started)


def test_a_device_that_is_not_there_leaves_no_worker(tiny_directory: Path) -> None:
    with pytest.raises(ModelError, match="device 'cuda:7' is not there"):
        Embedder.load(tiny_directory, devices=["cpu", "cuda:7"])
    wait_until_gone(children())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"devices": []}, "devices is empty"), ({"devices": ["cpu"], "device": "cpu"}, "give one or the other")],
)
def test_wrong_devices_are_refused(tiny_directory: Path, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Embedder.load(tiny_directory, **arguments)


# No `if __name__ == "__main__"`: as in a notebook, or as people write scripts.
SCRIPT = """
import signal, sys
from lusirag import Embedder
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has it ignored, and hands that on
embedder = Embedder.load(sys.argv[1], devices=["cpu", "cpu"])
print(embedder.encode_queries(["a", "b"]).shape, flush=True)
while True:
    embedder.encode_documents(["some text"] * 64)
"""


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_a_script_that_is_stopped(
    tiny_directory: Path, tmp_path: Path, blow: signal.Signals
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script), str(tiny_directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "(2, 32)\n"
        started = children(process.pid)
        assert len(started) == 2
        time.sleep(0.2)
        os.killpg(process.pid, blow) if blow == signal.SIGINT else process.kill()  # Ctrl-C reaches the whole group
        _, errors = process.communicate(timeout=PATIENCE)
        wait_until_gone(started)
        assert process.returncode in (-blow, 1, 130)
        if blow == signal.SIGINT:
            assert "KeyboardInterrupt" in errors
    finally:
        process.kill()
