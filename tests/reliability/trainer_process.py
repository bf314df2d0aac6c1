"""A training run in a process of its own, to be killed: python trainer_process.py RECIPE.json."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from lusirag_training.config import ContrastiveConfig
from lusirag_training.config.reading import parse
from lusirag_training.trainer.running import run_stage


def tell(record: Mapping[str, float]) -> None:
    """One line a record, at once."""
    sys.stdout.write(f"STEP {record['step']:.0f}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    config = parse(json.loads(Path(sys.argv[1]).read_text("utf-8")), ContrastiveConfig, origin="test")
    run_stage(config, progress=tell)
