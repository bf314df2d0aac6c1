"""A training run in a process of its own: python trainer_process.py RECIPE.json. It is killed, or shares its batches."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lusirag_training.config import ContrastiveConfig
from lusirag_training.config.reading import parse
from lusirag_training.trainer.running import run_stage

if __name__ == "__main__":
    config = parse(json.loads(Path(sys.argv[1]).read_text("utf-8")), ContrastiveConfig, origin="test")
    run_stage(config, progress=lambda record: print("STEP", int(record["step"]), flush=True))
