"""One process that trains recipes, in order, with its weights under FSDP; torchrun starts as many as there are shares.

python fsdp_process.py RECIPE.json...
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType

from lusirag_training.config.reading import parse
from lusirag_training.distributed import end_done_process
from lusirag_training.trainer import running
from lusirag_training.trainer.runs import KINDS


def shard_on_cpus() -> None:
    """Let accelerate use FSDP among CPUs too. It does so among accelerators alone, though torch shards over gloo."""
    begin = AcceleratorState.__init__

    def begin_sharded(self: Any, *given: Any, fsdp_plugin: Any = None, **more: Any) -> None:
        begin(self, *given, fsdp_plugin=fsdp_plugin, **more)
        if fsdp_plugin is not None:
            PartialState._shared_state["distributed_type"] = self.distributed_type = DistributedType.FSDP
            if self._mixed_precision != "no":
                fsdp_plugin.set_mixed_precision(self._mixed_precision)
            self.fsdp_plugin = fsdp_plugin

    AcceleratorState.__init__ = begin_sharded


if __name__ == "__main__":
    running._require_gpus = lambda *_: None
    if not torch.cuda.is_available():
        shard_on_cpus()
    for file in sys.argv[1:]:
        recipe = json.loads(Path(file).read_text("utf-8"))
        running.run_stage(parse(recipe, KINDS[recipe["stage"]], origin="test"))
        AcceleratorState._reset_state()
    end_done_process()
