"""The package's README: its snippets run as printed, one after the other, and print what they promise."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import llama_index_lusirag
from lusirag import Document, Embedder, Index

README = Path(llama_index_lusirag.__file__).with_name("README.md")


def test_snippets_run_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with Index.create("my-index", Embedder.load("lusifer-mini")) as index:
        index.add(
            [Document("a", "Kila mtu ana haki ya kupata elimu.", language="sw"), Document("b", "Ruhe", language="en")]
        )
    snippets = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert len(snippets) == 5
    printed, names = [], dict[str, Any]()
    for snippet in snippets:
        exec(compile(snippet, str(README), "exec"), names)  # noqa: S102
        printed.append(capsys.readouterr().out)
    assert printed[0].startswith("school 0.")
    assert "full age have the right to marry" in printed[0]
    assert printed[1] == ""
    assert printed[2] == "['school']\n"
    assert "'sw'" in printed[3]
    assert printed[3].count("NodeWithScore") == 2
    assert printed[4] == "text text text text ['a', 'b'] ()\n"
    assert {each.ref_doc_id for each in names["index"].vector_store.get_nodes()} == {"school", "rest"}
    with Index.open("my-store") as index:
        assert index.search("Who has the right to education?", k=1)[0].text == "Kila mtu ana haki ya kupata elimu."


def test_every_public_class_is_described() -> None:
    described = set(re.findall(r"^\| `(\w+)`", README.read_text("utf-8"), re.MULTILINE)) & set(dir(llama_index_lusirag))
    assert described == set(llama_index_lusirag.__all__)


def test_without_llama_index_the_error_names_the_extra() -> None:
    script = "import sys; sys.modules['llama_index.core'] = None; import llama_index_lusirag"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith('Run: pip install "lusirag[llamaindex]"')


def test_importing_loads_no_torch() -> None:
    script = "import sys, llama_index_lusirag; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
