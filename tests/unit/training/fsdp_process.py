"""One process that trains a recipe with its weights under FSDP; `test_training_gpu.py` starts it by torchrun.

python fsdp_process.py RECIPE.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lusirag_training.config import ContrastiveConfig
from lusirag_training.config.reading import parse
from lusirag_training.data.steps import Share
from lusirag_training.distributed import end_done_process
from lusirag_training.trainer import running

if __name__ == "__main__":
    # NOTE: a run refuses FSDP where one process trains alone. This one takes itself for the first of two, whose other
    # half of each batch nobody trains: on one GPU the wrapped network, its steps and its checkpoints can be tried.
    running.share_of_process = lambda: Share(0, 2)
    recipe = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    running.run_stage(parse(recipe, ContrastiveConfig, origin="test"))
    end_done_process()
