"""The values that a dict compares columns with: whether they go with the column's type, and what DuckDB gets."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from lusirag.errors import InvalidArgumentError
from lusirag.index.filters.expression import Column, shown

_HUGEINT = 1 << 127
_DECIMAL_DIGITS = 38
# What a count of nanoseconds in 64 bits can say, in microseconds.
_NANOSECONDS = datetime(1677, 9, 21, 0, 12, 43, 145225), datetime(2262, 4, 11, 23, 47, 16, 854775)


def parameter(value: Any, column: Column) -> Any:
    """The value that DuckDB gets, compared with a column.

    Numbers of all kinds go together, and dates, times and ISO 8601 text such as "2024-05-17T12:00". A time without a
    zone is UTC where the column has zones.

    Raises:
        InvalidArgumentError: the value and the column's type do not go together, or only SQL can compare such a column.
    """
    if isinstance(value, np.generic):
        value = value.item()
    for matches, convert, wanted in _KINDS:
        if matches(column.type):
            try:
                return convert(value, column.type)
            except (TypeError, ValueError):
                raise InvalidArgumentError(
                    f"where compares the column {column.name!r}, which holds {column.type}, with {shown(value)} "
                    f"({type(value).__name__}); give {wanted}"
                ) from None
    quoted = '"' + column.name.replace('"', '""') + '"'
    example = f"list_contains({quoted}, 'a')" if is_list(column.type) else f"{quoted} IS NOT NULL"
    raise InvalidArgumentError(
        f"the column {column.name!r} holds {column.type}, which a dict cannot compare; "
        f"give where as SQL, such as {example}"
    )


def _number(value: Any, kind: pa.DataType) -> int | float | Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise TypeError
    if isinstance(value, Decimal) and (not value.is_finite() or len(value.as_tuple().digits) > _DECIMAL_DIGITS):
        value = float(value)
    number: int | float | Decimal = value
    if pa.types.is_floating(kind):
        return _as_float(number)
    if pa.types.is_integer(kind) and not isinstance(number, int):
        # A whole number stays exact, where DuckDB would round the column to floats.
        number = int(number) if math.isfinite(number) and number == int(number) else float(number)
    if isinstance(number, int) and abs(number) >= _HUGEINT:
        return _infinity(number)
    return number


def _as_float(value: int | float | Decimal) -> float:
    try:
        return float(value)
    except OverflowError:
        return _infinity(value)


def _infinity(value: int | float | Decimal) -> float:
    return math.inf if value > 0 else -math.inf


def _text(value: Any, kind: pa.DataType) -> str:
    del kind
    if not isinstance(value, str):
        raise TypeError
    value.encode()  # half of a surrogate pair is no text
    return value


def _boolean(value: Any, kind: pa.DataType) -> bool:
    del kind
    if not isinstance(value, bool):
        raise TypeError
    return value


def _time(value: Any, kind: pa.DataType) -> datetime:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, date):
        raise TypeError
    moment = value if isinstance(value, datetime) else datetime.combine(value, time())
    zoned = pa.types.is_timestamp(kind) and kind.tz is not None
    if moment.tzinfo is not None and not zoned:
        raise ValueError
    if zoned and moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        first, last = (limit.replace(tzinfo=UTC) if zoned else limit for limit in _NANOSECONDS)
        moment = min(max(moment, first), last)
    return moment


def _anything(value: Any, kind: pa.DataType) -> Any:
    """A column without any value has no type yet; what it is compared with does not matter."""
    del kind
    if not isinstance(value, bool | int | float | Decimal | str | date):
        raise TypeError
    return str(value)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_date(kind) or (pa.types.is_timestamp(kind) and kind.tz is None))


def _is_zoned_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind))


def is_list(kind: pa.DataType) -> bool:
    """Whether a column holds lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


_KINDS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[Any, pa.DataType], Any], str], ...] = (
    (_is_number, _number, "a number"),
    (is_text, _text, "a str"),
    (pa.types.is_boolean, _boolean, "True or False"),
    (_is_time, _time, "a date or datetime without time zone, or such text in ISO 8601"),
    (_is_zoned_time, _time, "a date or datetime, or such text in ISO 8601"),
    (pa.types.is_null, _anything, "a number, str, bool, date or datetime"),
)
