"""What the user names -> the list of files to read."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from lusirag.corpus.reading import Compression, SourceFile
from lusirag.errors import CorpusError, InvalidArgumentError

logger = logging.getLogger(__name__)

FORMATS = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet",
    ".arrow": "arrow", ".feather": "arrow", ".txt": "txt", ".md": "md", ".markdown": "md", ".html": "html",
    ".htm": "html",
}  # fmt: skip
COMPRESSIONS: dict[str, Compression] = {".gz": "gzip", ".zst": "zstd"}
STDIN = Path("-")
_KNOWN = f"known endings: {' '.join(FORMATS)}, each also with {' or '.join(COMPRESSIONS)}"


def find_files(sources: Sequence[str | Path], format: str | None, stdin: BinaryIO) -> list[SourceFile]:
    """List the files of a corpus: sources in their order, a folder's files sorted by their path.

    Args:
        sources: files, folders, Hugging Face datasets on disk, or "-" for standard input.
        format: what all of them are, whatever their endings; None: told by the ending, JSON lines for standard input.
        stdin: read for "-".

    Raises:
        InvalidArgumentError: no source, or an unknown format.
        CorpusError: a source is missing, unreadable, empty, of an unknown ending, or a folder with nothing to read.
    """
    allowed = list(dict.fromkeys(FORMATS.values()))
    if format is not None and format not in allowed:
        raise InvalidArgumentError(f"format {format!r} is not known; allowed: {', '.join(allowed)}")
    if isinstance(sources, str | Path):
        raise InvalidArgumentError(
            f"sources must be a list of paths, not the single path {str(sources)!r}; write [...]"
        )
    if not sources:
        raise InvalidArgumentError("no source was given; name at least one file or folder, or - for standard input")
    found: dict[Path, SourceFile] = {}
    for source in sources:
        if str(source) == "-":
            found.setdefault(STDIN, SourceFile(STDIN, "stdin", format or "jsonl", stream=stdin))
            continue
        for file in _of_source(Path(source), format):
            if found.setdefault(file.path.resolve(), file) is not file:
                logger.warning("%s was given twice and is read once", file.path)
    return list(found.values())


def _of_source(source: Path, format: str | None) -> Iterator[SourceFile]:
    try:
        is_folder = source.is_dir()
        exists = source.exists()
    except OSError as error:
        raise CorpusError(f"{source}: cannot be read: {error.strerror}") from error
    if not exists:
        raise CorpusError(f"{source}: no such file or folder")
    if is_folder:
        files = list(_of_folder(source, format))
        if not files:
            raise CorpusError(f"{source}: the folder holds nothing that can be read; {_KNOWN}")
        yield from files
        return
    file = _of_file(source, source.name, format)
    if file is None:
        raise CorpusError(f"{source}: cannot tell the format from the ending; say it by --format; {_KNOWN}")
    yield file


def _of_file(path: Path, name: str, format: str | None) -> SourceFile | None:
    """Describe one file; None if its ending is unknown."""
    if not os.access(path, os.R_OK):
        raise CorpusError(f"{path}: no permission to read it")
    endings = [ending.lower() for ending in path.suffixes[-2:]]
    compression = COMPRESSIONS.get(endings[-1]) if endings else None
    if compression is not None:
        endings.pop()
    format = format or (FORMATS.get(endings[-1]) if endings else None)
    if format is None:
        return None
    size = path.stat().st_size if path.is_file() else None  # a named pipe has no size
    return SourceFile(path, name, format, compression, size)


def _of_folder(folder: Path, format: str | None) -> Iterator[SourceFile]:
    ignored = 0
    for parent, folders, names in os.walk(folder, onerror=_raise):
        place = Path(parent)
        dataset = list(_of_dataset(place, folder))
        if dataset:
            folders.clear()
            yield from dataset
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = place / name
            file = None
            if not name.startswith(".") and path.is_file():
                file = _of_file(path, path.relative_to(folder).as_posix(), format)
            if file is None:
                ignored += 1
            else:
                yield replace(file, in_folder=True)
    if ignored:
        logger.warning("%s: %d hidden files or files of unknown endings were passed over", folder, ignored)


def _raise(error: OSError) -> None:
    raise CorpusError(f"{error.filename}: cannot be read: {error.strerror}") from error


def _of_dataset(place: Path, folder: Path) -> Iterator[SourceFile]:
    """Describe the Arrow files of a folder that `datasets` wrote with `save_to_disk`; nothing for another folder."""
    splits = _json(place / "dataset_dict.json").get("splits")
    if isinstance(splits, list):
        for split in splits:
            files = list(_of_dataset(place / str(split), folder))
            if not files:
                raise CorpusError(f"{place}: the dataset's split {split!r} is missing or incomplete")
            yield from (replace(file, split=str(split)) for file in files)
        return
    listed = _json(place / "state.json").get("_data_files")
    if isinstance(listed, list):
        paths = [place / str(entry["filename"]) for entry in listed]
    elif (place / "dataset_info.json").is_file():
        paths = sorted(place.glob("*.arrow"))
    else:
        return
    for path in paths:
        if not path.is_file():
            raise CorpusError(f"{path}: is missing, though the dataset's state.json lists it")
        file = _of_file(path, path.relative_to(folder).as_posix(), "arrow")
        if file is not None:
            yield replace(file, in_folder=True)


def _json(path: Path) -> dict[str, Any]:
    """A small JSON object; empty if the file is none, as any folder may hold a file of that name."""
    try:
        value = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
