"""What the user names -> data sets as the library `datasets` reads them: local files, folders, hub names."""

from __future__ import annotations

import glob
import importlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lusirag.errors import CorpusError, InvalidArgumentError, LusiragError, MissingDependencyError

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

# Options keep what the readers would otherwise guess at: "NA" is a word, and a row is a row.
_CSV = {"keep_default_na": False}
_JSON = {"parse_agent_traces": False}
READERS: dict[str, tuple[str, dict[str, Any]]] = {
    ".jsonl": ("json.json.Json", _JSON), ".ndjson": ("json.json.Json", _JSON), ".json": ("json.json.Json", _JSON),
    ".csv": ("csv.csv.Csv", _CSV), ".tsv": ("csv.csv.Csv", _CSV | {"sep": "\t"}),
    ".parquet": ("parquet.parquet.Parquet", {}), ".arrow": ("arrow.arrow.Arrow", {}),
}  # fmt: skip
PACKED = (".gz", ".zst")
_KNOWN = f"known endings: {' '.join(READERS)}, also with {' or '.join(PACKED)}"
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


class Place(NamedTuple):
    """Where to read.

    Attributes:
        split, subset, revision: of a hub data set; `split` also of a folder that `save_to_disk` wrote.
        local_files_only: use what was downloaded before, and never the network.
        cache_dir: where `datasets` keeps its files; its own choice when None.
    """

    split: str = "train"
    subset: str | None = None
    revision: str | None = None
    local_files_only: bool = False
    cache_dir: str | None = None


class Part(NamedTuple):
    """A piece of a source with columns of its own: a file, or a whole data set.

    Attributes:
        name: for messages.
        rows: the data.
    """

    name: str
    rows: Dataset


def open_parts(source: str | Path, place: Place) -> list[Part]:
    """Open a source, one part a file.

    Raises:
        CorpusError: no such source, nothing in it that can be read, or a file that is damaged.
        InvalidArgumentError: options that do not go with local files.
        MissingDependencyError: the library `datasets` is not installed.
    """
    datasets = load_datasets()
    path = Path(source)
    if _is_saved(path):
        with _in_words(str(path)):
            saved = datasets.load_from_disk(str(path))
        return [Part(str(path), _split_of(saved, place.split, path))]
    if (files := _files(source)) is None:
        return [Part(str(source), _from_hub(str(source), place))]
    _refuse_hub_options(source, place)
    return [Part(str(file), _load(file, place)) for file in files]


def open_stream(source: str | Path, place: Place) -> IterableDataset:
    """Open a source to be read from its beginning, downloading no more than is taken.

    Raises:
        As `open_parts`.
    """
    datasets = load_datasets()
    path = Path(source)
    if _is_saved(path):
        return open_parts(source, place)[0].rows.to_iterable_dataset()
    if (files := _files(source)) is None:
        if place.local_files_only:
            return _from_hub(str(source), place).to_iterable_dataset()
        with _in_words(str(source)):
            return datasets.load_dataset(str(source), **_hub_options(place), streaming=True)
    _refuse_hub_options(source, place)
    readers = {_reader(file) for file in files}
    if len(readers) > 1:
        raise CorpusError(f"{source}: files of several formats cannot be streamed as one; read them without streaming")
    with _in_words(str(source)):
        return _builder(files, place).as_streaming_dataset(split="train")


def load_datasets() -> Any:
    """Import the library `datasets`.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingDependencyError(
            'reading training data needs the package datasets. Run: pip install "lusirag[train]"'
        ) from error
    return datasets


def _files(source: str | Path) -> list[Path] | None:
    """The files that a source names, in order; None when it is a hub name."""
    path, text = Path(source), str(source)
    if path.is_file():
        if _reader(path) is None:
            raise CorpusError(f"{path}: cannot tell the format from the ending; {_KNOWN}")
        return [path]
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*")) if file.is_file() and _is_readable(file.relative_to(path))]
        if not files:
            raise CorpusError(f"{path}: the folder holds nothing that can be read; {_KNOWN}")
        return files
    if glob.has_magic(text):
        files = [Path(name) for name in sorted(glob.glob(text, recursive=True)) if _is_readable(Path(name))]  # noqa: PTH207
        if not files:
            raise CorpusError(f"{text}: no file of that pattern can be read; {_KNOWN}")
        return files
    if isinstance(source, Path) or _reader(path) is not None or not _HUB_NAME.fullmatch(text):
        raise CorpusError(f"{source}: no such file or folder, and not a name on the hub (owner/name)")
    return None


def _is_readable(path: Path) -> bool:
    return _reader(path) is not None and not any(part.startswith(".") for part in path.parts if part not in ("..", "."))


def _reader(path: Path) -> str | None:
    endings = [ending.lower() for ending in path.suffixes[-2:]]
    if endings and endings[-1] in PACKED:
        endings.pop()
    return endings[-1] if endings and endings[-1] in READERS else None


def _load(file: Path, place: Place) -> Dataset:
    if file.stat().st_size == 0:
        raise CorpusError(f"{file}: the file is empty; give a file with rows, or leave it out")
    with _in_words(str(file)):
        builder = _builder([file], place)
        builder.download_and_prepare()
        return builder.as_dataset(split="train")


def _builder(files: Sequence[Path], place: Place) -> Any:
    """The reader of `datasets` for files of one format.

    NOTE: not `load_dataset`: for local files, too, it asks the hub each time, to be counted there.
    """
    name, options = READERS[_reader(files[0]) or ".jsonl"]
    module, _, reader = f"datasets.packaged_modules.{name}".rpartition(".")
    # A name is a pattern to `datasets`; brackets in it are none.
    names = [glob.escape(str(file.resolve())) for file in files]
    return getattr(importlib.import_module(module), reader)(cache_dir=place.cache_dir, data_files=names, **options)


def _is_saved(path: Path) -> bool:
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def _split_of(saved: Any, split: str, path: Path) -> Dataset:
    if not isinstance(saved, dict):
        return saved
    if split not in saved:
        raise CorpusError(f"{path}: there is no split {split!r}; it has {', '.join(saved)}")
    return saved[split]


def _refuse_hub_options(source: str | Path, place: Place) -> None:
    if place.split != "train" or place.subset is not None or place.revision is not None:
        raise InvalidArgumentError(f"{source} is a local file or folder: it has no split, subset or revision")


def _hub_options(place: Place) -> dict[str, Any]:
    return {
        "name": place.subset, "split": place.split, "revision": place.revision, "cache_dir": place.cache_dir,
    }  # fmt: skip


def _from_hub(name: str, place: Place) -> Dataset:
    with _in_words(name):
        if not place.local_files_only:
            return load_datasets().load_dataset(name, **_hub_options(place))
        from datasets.packaged_modules.cache.cache import Cache

        if place.revision is not None:
            raise InvalidArgumentError(f"{name}: what was downloaded is known by no revision; leave `revision` out")
        cached = Cache(
            cache_dir=place.cache_dir,
            repo_id=name,
            dataset_name=name.split("/")[-1],
            config_name=place.subset,
            version="auto",
            hash="auto",
        )
        cached.download_and_prepare()
        return cached.as_dataset(split=place.split)


@contextmanager
def _in_words(name: str) -> Iterator[None]:
    """Say of which source it is that `datasets` could not read it."""
    try:
        yield
    except LusiragError:
        raise
    except Exception as error:  # NOTE: the readers raise many kinds, StopIteration for an empty file among them
        said = " ".join(" ".join(str(part).split()) for part in _causes(error))
        raise CorpusError(f"{name}: cannot be read ({type(error).__name__}: {said[:300]})") from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
