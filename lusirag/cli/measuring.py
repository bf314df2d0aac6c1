"""What `lusirag eval` needs for suites and benchmarks alike: how models are loaded, and what becomes of the figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lusirag.cli.options import on_devices
from lusirag.cli.reporting import Form

if TYPE_CHECKING:
    from lusirag.types import Encoder


class Loading(NamedTuple):
    """How models are loaded."""

    runtime: str | None
    device: str | None
    dtype: str | None
    base_url: str | None

    def load(self, spec: str) -> Encoder:
        """Load a model by its name on the command line."""
        from lusirag.evaluation.models import load_encoder

        return load_encoder(
            spec, runtime=self.runtime, dtype=self.dtype, base_url=self.base_url, **on_devices(self.device)
        )


class Running(NamedTuple):
    """What is done with the figures.

    Attributes:
        listing: nothing is measured, only listed. form: of standard output. plot: a picture to write.
        cache: where results are kept; the user's cache when None. overwrite: compute again what is there.
        quiet: show no progress.
    """

    listing: bool
    form: Form
    plot: Path | None
    cache: Path | None
    overwrite: bool
    quiet: bool

    @property
    def directory(self) -> Path:
        """Where results are kept."""
        from platformdirs import user_cache_path

        return user_cache_path("lusirag") / "evaluation" if self.cache is None else self.cache
