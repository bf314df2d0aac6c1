"""JSON text -> Python values, one at a time: a value a line (.jsonl), or one array or several values a file (.json)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader, TextIOWrapper
from typing import Any

from lusirag.corpus import streams
from lusirag.errors import CorpusError

_FIRST_READ = 1024 * 1024
_SPACE = " \t\r\n"
# A value that is merely cut off fails within its last few characters ("tru", "\u00"), or as an unterminated string.
_CUT_MARGIN = 12


@dataclass(frozen=True)
class Value:
    """One JSON value: its 1-based number, what it is or what is wrong with it, and about how many bytes it took."""

    number: int
    value: Any = None
    problem: str | None = None
    detail: str = ""
    size: int = 0


def read_lines(stream: BufferedReader) -> Iterator[Value]:
    """Yield the value on each line that is not blank; `number` is the line's."""
    number = 0
    while line := stream.readline(streams.MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > streams.MAX_LINE_BYTES and not line.endswith(b"\n"):
            _skip_line(stream)
            limit = f"limit: {streams.MAX_LINE_BYTES // 2**20} MiB"
            yield Value(number, problem="line too long", detail=limit)
            continue
        if not line.isspace():
            yield _parse_line(number, line)


def _skip_line(stream: BufferedReader) -> None:
    while (rest := stream.readline(streams.MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
        pass


def _parse_line(number: int, line: bytes) -> Value:
    try:
        return Value(number, value=json.loads(line.decode("utf-8")), size=len(line))
    except UnicodeDecodeError as error:
        return Value(number, problem="invalid UTF-8", detail=f"byte 0x{line[error.start]:02x} at {error.start + 1}")
    except json.JSONDecodeError as error:
        return Value(number, problem="broken JSON", detail=f"{error.msg}, column {error.colno}")
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits; a hundred thousand brackets
        return Value(number, problem="broken JSON", detail=str(error))


def read_values(stream: BufferedReader, place: str) -> Iterator[Value]:
    """Yield the items of a file's one array, or its values if it starts with something else; `number` counts them.

    NOTE: an incremental reader of our own, because ijson knows no line numbers and takes numbers as Decimal.

    Raises:
        CorpusError: broken JSON or invalid UTF-8; where the next value would begin is then unknown, so nobody goes on.
    """
    window = _Window(TextIOWrapper(stream, encoding="utf-8"), place)
    try:
        in_array = window.skip_space() == "["
        if in_array:
            window.take()
        for number in range(1, 2**62):
            if window.skip_space() == ("]" if in_array else ""):
                break
            value, size = window.value()
            yield Value(number, value=value, size=size)
            following = window.skip_space()
            if in_array and not following:
                raise window.broken("the file ends before its array does")
            if in_array and following not in (",", "]"):
                raise window.broken("expected ',' or ']' after a value of the array")
            if in_array and following == ",":
                window.take()
                if window.skip_space() == "]":
                    raise window.broken("expected a value after ','")
        if in_array:
            window.take()
            if window.skip_space():
                raise window.broken("more text after the end of the array")
    finally:
        window.text.detach()


class _Window:
    """The part of a JSON text that is being looked at."""

    def __init__(self, text: TextIOWrapper, place: str) -> None:
        self.text = text
        self._place = place
        self._buffer = ""
        self._position = 0
        self._line = 1
        self._decoder = json.JSONDecoder()

    def skip_space(self) -> str:
        """Go to the next character that is not white space and return it; "" at the end."""
        while True:
            buffer, position = self._buffer, self._position
            while position < len(buffer) and buffer[position] in _SPACE:
                position += 1
            self._line += buffer.count("\n", self._position, position)
            self._position = position
            if position < len(buffer):
                return buffer[position]
            if not self._read_more(_FIRST_READ):
                return ""

    def take(self) -> None:
        """Step over one character."""
        self._position += 1

    def value(self) -> tuple[Any, int]:
        """Read one value; return it and how many characters it took."""
        wanted = _FIRST_READ
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._position)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated") or error.pos >= len(self._buffer) - _CUT_MARGIN
                if len(self._buffer) - self._position > streams.MAX_LINE_BYTES:
                    raise self.broken(f"a value of more than {streams.MAX_LINE_BYTES // 2**20} MiB") from None
                if not (cut and self._read_more(wanted)):
                    raise self.broken(error.msg, error.pos) from None
                wanted *= 2  # so that a value of any length is parsed only a few times over
            except (ValueError, RecursionError) as error:
                raise self.broken(str(error)) from None
            else:
                size = end - self._position
                self._line += self._buffer.count("\n", self._position, end)
                self._position = end
                return value, size

    def broken(self, message: str, position: int | None = None) -> CorpusError:
        """Return the error for broken JSON at a position of the buffer, by default the present one."""
        line = self._line + self._buffer.count("\n", self._position, position or self._position)
        return CorpusError(
            f"{self._place}, line {line}: broken JSON ({message}); what follows cannot be read, so correct the file "
            "(in a .jsonl file, --on-error skip could leave the line out)"
        )

    def _read_more(self, count: int) -> bool:
        try:
            more = self.text.read(count)
        except UnicodeDecodeError:
            raise CorpusError(f"{self._place}: invalid UTF-8 after line {self._line}; convert it to UTF-8") from None
        self._buffer = self._buffer[self._position :] + more
        self._position = 0
        return bool(more)
