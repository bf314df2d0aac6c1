"""`lusirag index`, killed as by the machine, goes on where it stopped when it is typed again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from lusirag import Index

DOCUMENTS = 4700  # more than one commit of the index holds


def test_a_killed_run_continues(tiny_directory: Path, tmp_path: Path) -> None:
    source, directory = tmp_path / "corpus.jsonl", tmp_path / "index"
    with source.open("w") as stream:
        for number in range(DOCUMENTS):
            stream.write(json.dumps({"id": str(number), "text": f"text {number}", "language": "en"}) + "\n")
    command = [sys.executable, "-m", "lusirag", "index", str(source), "--out", str(directory), "--json", "--quiet"]
    environment = os.environ | {"LUSIRAG_MODEL": str(tiny_directory)}

    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while process.poll() is None and not committed(directory):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    survived = committed(directory)
    assert 0 < survived < DOCUMENTS

    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    account = json.loads(done.stdout)
    assert account["documents"] == DOCUMENTS
    assert account["unchanged"] >= survived
    assert account["added"] == DOCUMENTS - account["unchanged"]
    with Index.open(directory, read_only=True) as index:
        assert index.info()["complete"] is True
        assert index.verify().problems == []


def committed(directory: Path) -> int:
    """Documents that the newest manifest counts."""
    if not (directory / "manifest.json").exists():
        return 0
    with Index.open(directory, read_only=True) as index:
        return len(index)
