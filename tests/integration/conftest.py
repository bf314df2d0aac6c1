"""The fixtures of `tests.command_line`."""

from tests.command_line import corpus, index, run

__all__ = ["corpus", "index", "run"]
