"""`python -m lusirag_training align` is `lusirag train align`, for `accelerate launch -m` and `torchrun -m`.

It works from a checkout on PYTHONPATH too, where nothing is installed and `lusirag` knows of no commands but its own.
"""

import sys

from lusirag.cli.main import main
from lusirag_training.cli import register
from lusirag_training.distributed import end_done_process

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    try:
        main({"train": register})
    except SystemExit as end:
        if end.code:
            raise
    end_done_process()
