"""The models that lie in the package, by name."""

from __future__ import annotations

from pathlib import Path

ASSETS = Path(__file__).resolve().parent.parent / "assets"
DEFAULT_MODEL = "lusifer-mini"
EMBEDDED_MODELS = {DEFAULT_MODEL: ASSETS / DEFAULT_MODEL}
