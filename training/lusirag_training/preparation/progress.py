"""How a long step tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

# progress(step in words, done, total)
Progress = Callable[[str, int, int], None]
