"""`lusirag --help` and `import lusirag` load nothing heavy; searching with the embedded model loads no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lusirag import Document, Embedder, Index
from lusirag.cli.main import MODULES, program

HEAVY = (
    "torch",
    "transformers",
    "pyarrow",
    "faiss",
    "numpy",
    "tokenizers",
    "huggingface_hub",
    "peft",
    "pandas",
    "duckdb",
)

PROGRAM = """
import runpy, sys
sys.argv = ["lusirag", *{arguments}]
try:
    from lusirag.cli.main import main
    main()
except SystemExit as stopped:
    assert not stopped.code, stopped.code
print("LOADED", *sorted(set(sys.modules) & set({heavy})))
"""


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["index", "--help"], ["search", "-h"], ["--version"]])
def test_no_heavy_module_is_loaded(arguments: list[str]) -> None:
    program = PROGRAM.format(arguments=arguments, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].split() == ["LOADED"]


@pytest.fixture(scope="module")
def small_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of one document, made with the embedded model."""
    directory = tmp_path_factory.mktemp("small") / "index"
    with Index.create(directory, Embedder.load("lusifer-mini", device="cpu")) as index:
        index.add([Document(id="a", text="Everyone has the right to education.")])
    return directory


@pytest.mark.parametrize("command", ["search", "embed"])
def test_the_embedded_model_needs_no_torch(command: str, small_index: Path) -> None:
    arguments = [command, *([str(small_index)] if command == "search" else []), "Nani ana haki ya elimu?", "--json"]
    unused = ("torch", "transformers", "peft", "pandas", "onnx", "faiss", "sentence_transformers", "lusirag.retrieval")
    program = PROGRAM.format(arguments=arguments, heavy=unused)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    answer, loaded = done.stdout.splitlines()
    assert loaded.split() == ["LOADED"]
    assert ("Everyone has the right" in answer) == (command == "search")


def test_a_dense_search_does_not_read_the_whole_vocabulary(small_index: Path) -> None:
    embedder = Embedder.load("lusifer-mini", runtime="onnx")
    with Index.open(small_index, embedder, read_only=True) as index:
        assert index.search("Nani ana haki ya elimu?")
        assert embedder._tokenizer._whole is None
        assert index.search("right", mode="lexical")
        assert embedder._tokenizer._whole is not None


def test_a_lexical_search_loads_the_tokenizer_and_no_model(small_index: Path) -> None:
    arguments = ["search", str(small_index), "RIGHT", "--mode", "lexical", "--json"]
    unused = ("torch", "transformers", "onnxruntime", "lusirag.embedding.onnx_runtime", "faiss")
    program = PROGRAM.format(arguments=arguments, heavy=unused)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    answer, loaded = done.stdout.splitlines()
    assert "Everyone has the right" in answer
    assert loaded.split() == ["LOADED"]


def test_importing_lusirag_loads_nothing_heavy() -> None:
    program = f"import lusirag, sys; print('LOADED', *sorted(set(sys.modules) & set({HEAVY})))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["LOADED"]


def test_an_unknown_name_says_which_there_are() -> None:
    import lusirag

    with pytest.raises(AttributeError, match="Embedder, Hit, Index"):
        lusirag.Embeder  # noqa: B018


def test_a_command_is_in_the_module_that_is_named_for_it() -> None:
    def names(*arguments: str) -> set[str]:
        app = program(arguments)
        return {str(entry.name) for entry in [*app.registered_commands, *app.registered_groups]}

    for whole in ((), ("--help",), ("-h", "search"), ("sarch",)):
        assert names(*whole) == {*MODULES, "train"}
    for command, module in MODULES.items():
        assert names(command) == names("--debug", command) == {other for other, its in MODULES.items() if its == module}
