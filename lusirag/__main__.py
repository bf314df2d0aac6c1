"""`python -m lusirag` is the command `lusirag`."""

from lusirag.cli.main import main

main()
