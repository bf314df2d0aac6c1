"""What `lusirag eval` needs for suites and benchmarks alike: how models are loaded, and what becomes of the figures."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lusirag.cli.console import note
from lusirag.cli.options import on_devices
from lusirag.cli.reporting import Form
from lusirag.errors import InvalidArgumentError

if TYPE_CHECKING:
    from lusirag.types import Encoder


RESERVED = ("bm25",)  # names that tables give to something else


class Loading(NamedTuple):
    """How models are loaded."""

    runtime: str | None
    device: str | None
    dtype: str | None
    base_url: str | None

    def load(self, spec: str) -> Encoder:
        """Load a model by its name on the command line, with those of the options that its kind takes."""
        from lusirag.evaluation.models import load_encoder, options_of

        if spec.startswith("python:") and "" not in sys.path:
            sys.path.insert(0, "")  # as `python -m` has it: modules of the folder where the command runs
        takes = options_of(spec)
        return load_encoder(spec, **{name: value for name, value in self._given().items() if name in takes})

    def require_use(self, specs: Iterable[str]) -> None:
        """Refuse options that none of the models takes.

        Raises:
            InvalidArgumentError: there is one.
        """
        from lusirag.evaluation.models import options_of

        taken = frozenset().union(*map(options_of, specs))
        if useless := [name for name in self._given() if name not in taken]:
            options = " and ".join(f"--{'device' if name == 'devices' else name.replace('_', '-')}" for name in useless)
            raise InvalidArgumentError(f"none of the models takes {options}; leave it out")

    def _given(self) -> dict[str, Any]:
        every = {"runtime": self.runtime, "dtype": self.dtype, "base_url": self.base_url, **on_devices(self.device)}
        return {name: value for name, value in every.items() if value is not None}


def named_models(specs: Sequence[str]) -> dict[str, str]:
    """The models of the command line by the names that tables give them: {name: model}, each model once.

    A model is named by what is written before "=", if anything, or else by its last part.

    Raises:
        InvalidArgumentError: two models of one name.
    """
    named: dict[str, str] = {}
    for given in dict.fromkeys(specs):
        name, _, spec = given.partition("=")
        if not spec or set(name) & set("/\\:"):
            name, spec = _short(given), given
        if not name or name.lower() in RESERVED:
            raise InvalidArgumentError(
                f"a model is called {name!r}, which is {'no name' if not name else 'that of the floor'}; call it "
                f"otherwise: --model NAME={spec}"
            )
        if name in named:
            raise InvalidArgumentError(f"two models are called {name!r}; give one another name: --model NAME={spec}")
        named[name] = spec
    return named


def _short(spec: str) -> str:
    kind, _, rest = spec.rpartition(":")
    if kind in ("", "sentence-transformers") and Path(rest).is_dir():
        return Path(rest).resolve().name
    return rest if kind == "sentence-transformers" else spec


@contextmanager
def quiet(*names: str) -> Iterator[None]:
    """Show errors alone of some loggers, for the time of a block."""
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def closing_model(encoder: Encoder, name: str) -> Iterator[Encoder]:
    """A model for the time of a block; then its worker processes end, and what it cut is told once, by its name."""
    try:
        with quiet("lusirag.embedding.embedder"):  # which would tell it for each of hundreds of tasks
            yield encoder
    finally:
        if callable(close := getattr(encoder, "close", None)):
            close()
    if truncated := getattr(getattr(encoder, "statistics", None), "truncated", 0):
        note(f"{name}: {truncated} texts were longer than {encoder.max_tokens} tokens and were cut")


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

    def directory(self, kind: str) -> Path:
        """Where results of a kind are kept; made, and tried, before anything is computed.

        Raises:
            StorageError: nothing can be written there.
        """
        from platformdirs import user_cache_path

        from lusirag.evaluation.keeping import require_writable

        place = (user_cache_path("lusirag") / "evaluation" if self.cache is None else self.cache) / kind
        require_writable(place)
        return place
