"""The README's snippets run as printed, and its diff is all that lies between LangChain's example and ours."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import InMemoryVectorStore

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "integrations/langchain_lusirag/README.md").read_text("utf-8")
APP = (ROOT / "examples/langchain_app.py").read_text("utf-8")


def run(code: str, name: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, name, "exec"), names)  # noqa: S102
    return names


def test_the_snippets_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run("\n".join(re.findall(r"```python\n(.*?)```", README, re.DOTALL)), "README.md")
    counts = "{{'num_added': {}, 'num_updated': 0, 'num_skipped': {}, 'num_deleted': {}}}"
    assert capsys.readouterr().out.splitlines() == [
        "['1']", "{'year': 1948, 'at': {'page': 3}}", "['1']", "['2']", "2", "2",
        "Men and women of full age [1]. [('2', 'Men and women of full age have the right to marry.')]",
        counts.format(2, 0, 0), counts.format(0, 1, 1),
    ]  # fmt: skip


def test_the_app_answers_in_other_languages_than_the_question(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["langchain_app.py"])
    run(APP, "langchain_app.py")
    assert re.findall(r"\[udhr/(\w+)\]", capsys.readouterr().out) == ["sw", "ja", "es"]


def test_the_diff_is_all_that_lies_between_the_two_apps(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hunks = re.findall(r"```diff\n(.*?)```", README, re.DOTALL)[0].split("@@\n")
    original = APP
    for hunk in hunks:
        lines = hunk.splitlines(keepends=True)
        ours = "".join(line[1:] for line in lines if line[0] in "+ ")
        assert original.count(ours) == 1
        original = original.replace(ours, "".join(line[1:] for line in lines if line[0] in "- "))
    assert "usi" not in original.split('"""')[2]

    class HuggingFaceEmbeddings(DeterministicFakeEmbedding):
        model_name: str
        model_kwargs: dict[str, Any]
        encode_kwargs: dict[str, Any]
        size: int = 6

    for name, member in (
        ("langchain_huggingface", HuggingFaceEmbeddings),
        ("langchain_community", None),
        ("langchain_community.vectorstores", InMemoryVectorStore),
    ):
        module = ModuleType(name)
        if member is not None:
            setattr(module, "FAISS" if member is InMemoryVectorStore else member.__name__, member)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(sys, "argv", ["langchain_app.py", "one question"])
    run(original, "original.py")
    assert capsys.readouterr().out.count("[udhr/") == 1
