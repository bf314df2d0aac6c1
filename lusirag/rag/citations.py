"""The numbers in brackets by which a generated answer names its passages."""

from __future__ import annotations

import re
from collections.abc import Iterator

# [2], [1, 3], [1-3], also in full-width brackets and with the digits of any script, which int() reads. Language models
# write a range with any of Unicode's dashes.
_DASH = r"[\-\u2010-\u2015]"
_MARK = re.compile(rf"[\[［【〔]\s*(\d+(?:\s*(?:[,，、;；،؛]|{_DASH})\s*\d+)*)\s*[\]］】〕]")
_RANGE = re.compile(rf"(?<!\d)(\d++)\s*{_DASH}\s*(\d+)")
_LONGEST = 18  # digits: int() refuses numbers of thousands


def marks(text: str, passages: int) -> Iterator[tuple[int, list[int]]]:
    """Where citations stand in a text, and which passages each names.

    Args:
        text: a generated answer.
        passages: how many there are; brackets without a number of one of them are not citations.

    Yields:
        the place of the bracket in characters, and the numbers in it from 1 to `passages`, each once.
    """
    for mark in _MARK.finditer(text):
        named = _RANGE.sub(lambda found: _spelt_out(found, passages), mark[1])
        numbers = dict.fromkeys(map(_number, re.findall(r"\d+", named)))
        if valid := [number for number in numbers if 1 <= number <= passages]:
            yield mark.start(), valid


def without_marks(text: str) -> str:
    """The text alone, as for comparing it with the passages."""
    return " ".join(_MARK.sub(" ", text).split())


def _spelt_out(found: re.Match[str], passages: int) -> str:
    first, last = sorted((_number(found[1]), _number(found[2])))
    return " ".join(str(number) for number in range(first, min(last, passages) + 1))


def _number(digits: str) -> int:
    return int(digits) if len(digits) <= _LONGEST else 10**_LONGEST
