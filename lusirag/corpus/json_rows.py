"""Reader of .jsonl and .json: rows of any shape -> Arrow columns."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from lusirag.corpus.columns import ColumnTypes
from lusirag.corpus.fields import FieldNames, Kind
from lusirag.corpus.json_values import Value, read_lines, read_values
from lusirag.corpus.reading import Piece, Reading, SourceFile
from lusirag.corpus.streams import empty, open_text

MAX_BATCH_BYTES = 16 * 1024 * 1024
_JSON_NAMES = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}


def read_json(file: SourceFile, reading: Reading) -> Iterator[Piece]:
    """Yield a JSON file's rows, `reading.batch_rows` or about 16 MiB at a time.

    Raises:
        CorpusError: the file is empty or broken, a bad row under on_error="stop", or no field holds the text.
    """
    lines = file.format == "jsonl"
    with open_text(file, reading.meter) as stream:
        values = read_lines(stream) if lines else read_values(stream, str(file.path))
        batcher = _Batcher(file, reading)
        seen = False
        for value in values:
            seen = True
            yield from batcher.add(value)
        if not seen:
            raise empty(file)
        yield from batcher.flush()


class _Batcher:
    """Gathers rows until they are enough for a batch."""

    def __init__(self, file: SourceFile, reading: Reading) -> None:
        self._file = file
        self._reading = reading
        self._fields = reading.fields
        self._settled = False
        self._rows: list[dict[str, Any]] = []
        self._numbers: list[int] = []
        self._bytes = 0

    def add(self, value: Value) -> Iterator[Piece]:
        problem = value.problem
        if problem is None and not isinstance(value.value, dict):
            problem = "row is no JSON object"
        if problem is not None:
            yield from self.flush()  # so that an earlier bad row is reported before this one
            unit = "line" if self._file.format == "jsonl" else "row"
            place = f"{self._file.path}, {unit} {value.number}"
            self._reading.bad_rows.report(place, problem, value.detail)
            return
        self._rows.append(value.value)
        self._numbers.append(value.number)
        self._bytes += value.size
        if len(self._rows) >= self._reading.batch_rows or self._bytes >= MAX_BATCH_BYTES:
            yield from self.flush()

    def flush(self) -> Iterator[Piece]:
        rows, numbers = self._rows, self._numbers
        self._rows, self._numbers, self._bytes = [], [], 0
        if not rows:
            return
        kinds = _kinds(rows)
        if self._settled:  # what earlier rows settled stays so, also where these rows lack the field
            missing: dict[str, Kind] = {name: "empty" for name in vars(self._fields).values() if name is not None}
            kinds = missing | kinds
        self._fields = self._fields.resolve(kinds, str(self._file.path))
        self._settled = True
        batch, bad = rows_to_batch(rows, self._fields, self._reading.types)
        yield Piece(batch, self._fields, numbers, unit="line" if self._file.format == "jsonl" else "row", bad=bad)


def rows_to_batch(
    rows: Sequence[dict[str, Any]], fields: FieldNames, types: ColumnTypes
) -> tuple[pa.RecordBatch, dict[int, str]]:
    """Make columns of rows; cells that cannot be stored become null and their rows are named as bad.

    Args:
        rows: JSON objects.
        fields: which field is what; the values of these become strings.
        types: what is known of the other fields' types.

    Returns:
        the batch, one row for each given, and the bad ones: index -> reason.
    """
    bad: dict[int, str] = {}
    roles = {name: role for role, name in vars(fields).items() if name is not None}
    columns: dict[str, list[Any]] = {name: [] for name in roles}
    for index, row in enumerate(rows):
        for name, role in roles.items():
            text, reason = as_string(row.get(name), role)
            columns[name].append(text)
            if reason is not None:
                bad.setdefault(index, reason)
    arrays = {name: pa.array(column, pa.large_string()) for name, column in columns.items()}
    arrays |= own_columns(rows, roles, types, bad)
    return pa.RecordBatch.from_arrays(list(arrays.values()), names=[_storable(name) for name in arrays]), bad


def own_columns(
    rows: Sequence[Mapping[str, Any]], taken: Collection[str], types: ColumnTypes, bad: dict[int, str]
) -> dict[str, pa.Array]:
    """Make the user's own columns.

    Args:
        rows: values by column name.
        taken: columns that are none of the user's own.
        types: what is known of the columns' types.
        bad: rows already known as bad, whose values become null; rows with values that cannot be stored are added.
    """
    arrays = {}
    for name in dict.fromkeys(name for row in rows for name in row if name not in taken):
        array = None
        while array is None:
            values = [None if index in bad else row.get(name) for index, row in enumerate(rows)]
            array, reasons = types.build(name, values)
            bad.update(reasons)
        arrays[name] = array
    return arrays


def as_string(value: Any, role: str) -> tuple[str | None, str | None]:
    """Return the string that stands for a field's value (None for none), and what is wrong with it (None: nothing)."""
    if value is None:  # said for id and text by the check that all rows go through
        return None, None
    if isinstance(value, int) and not isinstance(value, bool) and role in ("id", "title"):
        return str(value), None
    if not isinstance(value, str):
        return None, f"{role} is {_JSON_NAMES.get(type(value), type(value).__name__)}, not a string"
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return None, f"lone surrogate in the {role}"
    return (value or None) if role in ("title", "language", "source") else value, None


def _kinds(rows: Sequence[dict[str, Any]]) -> dict[str, Kind]:
    types: dict[str, set[type]] = {}
    for row in rows:
        for name, value in row.items():
            types.setdefault(name, set()).add(type(value))
    return {name: _kind(found - {type(None)}) for name, found in types.items()}


def _kind(found: set[type]) -> Kind:
    if not found:
        return "empty"
    if found == {str}:
        return "text"
    if found == {int}:
        return "integer"
    return "mixed" if found & {str, int} else "other"


def _storable(name: str) -> str:
    """A field's name can hold a lone surrogate too; Arrow stores none."""
    return name.encode("utf-8", "replace").decode("utf-8")
