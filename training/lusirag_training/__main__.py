"""`python -m lusirag_training align` is `lusirag train align`, for `accelerate launch -m` and `torchrun -m`."""

import sys

from lusirag.cli.main import main

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    main()
