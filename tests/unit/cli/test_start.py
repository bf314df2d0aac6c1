"""`lusirag --help` and `import lusirag` load nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "pyarrow", "faiss", "numpy", "tokenizers", "huggingface_hub", "peft", "pandas")

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


def test_importing_lusirag_loads_nothing_heavy() -> None:
    program = f"import lusirag, sys; print('LOADED', *sorted(set(sys.modules) & set({HEAVY})))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["LOADED"]


def test_an_unknown_name_says_which_there_are() -> None:
    import lusirag

    with pytest.raises(AttributeError, match="Embedder, Hit, Index"):
        lusirag.Embeder  # noqa: B018
