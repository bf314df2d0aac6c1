"""Runs notebooks from top to bottom, each in a kernel of its own.

    python examples/execute.py examples/*.ipynb                 # tries them, in a folder that is removed afterwards
    python examples/execute.py examples/*.ipynb --save          # and keeps what they gave as their outputs
    python examples/execute.py examples/1_*.ipynb --directory D --out D   # runs in D, writes the executed file there

It says how many seconds each took, and ends with 1 where one failed.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

SECONDS_A_CELL = 900
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


def execute(notebook: nbformat.NotebookNode, directory: Path) -> None:
    """Run a notebook's cells in order; its outputs take the place of those it had.

    Args:
        notebook: changed in place; of its metadata the kernel's name alone is left.
        directory: the current directory of its kernel.

    Raises:
        CellExecutionError: a cell failed.
    """
    client = NotebookClient(
        notebook,
        timeout=SECONDS_A_CELL,
        kernel_name="python3",
        resources={"metadata": {"path": str(directory)}},
        record_timing=False,  # it would be another file every time
        coalesce_streams=True,  # else what is written piece by piece is saved piece by piece
        extra_arguments=["--IPKernelApp.log_level=ERROR"],  # it warns that it listens on the loopback unencrypted
    )
    try:
        client.execute()
    finally:
        notebook.metadata = nbformat.from_dict(KERNEL)
        for number, cell in enumerate(notebook.cells):
            cell["id"] = f"cell-{number}"
            cell["metadata"] = nbformat.from_dict({})


def main() -> int:
    """Run the notebooks named on the command line; 1 when one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="+", type=Path, metavar="NOTEBOOK")
    parser.add_argument("--directory", type=Path, help="where they run; a temporary folder each when left out")
    saving = parser.add_mutually_exclusive_group()
    saving.add_argument("--save", action="store_true", help="write the outputs into the notebooks themselves")
    saving.add_argument("--out", type=Path, metavar="DIR", help="write the executed notebooks there")
    options = parser.parse_args()
    # `!lusirag` in a cell is to be that of this Python, also where its environment is not activated.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    # A notebook imports what lies beside it, wherever it runs.
    here = str(Path(__file__).resolve().parent)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    # tqdm, which libraries import, warns with the path of its file where there are no widgets.
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"
    failed = False
    for file in options.notebooks:
        notebook = nbformat.read(file, as_version=4)
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as temporary:
            try:
                execute(notebook, options.directory or Path(temporary))
                outcome = "ran"
            except CellExecutionError as error:
                outcome, failed = f"failed\n{_COLOUR.sub('', str(error))}", True
        print(f"{file.name}: {time.monotonic() - started:.0f} s, {outcome}", flush=True)
        target = options.out / file.name if options.out else file if options.save and outcome == "ran" else None
        if target is not None:
            nbformat.write(notebook, target)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
