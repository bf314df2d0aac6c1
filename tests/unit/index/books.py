"""Ten documents with columns of many types and names, and what a filter finds among such."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

from lusirag.index import Index
from lusirag.types import Document

BOOKS = [
    Document(
        f"d{number}",
        f"text {number}",
        title=None if number % 2 else f"Title {number}",
        language=("en", "de")[number % 2],
        source="shelf",
        metadata={
            "year": 1990 + number,
            "score": None if number == 4 else number / 2,
            "tags": ["a", "b"] if number % 3 else ["b"],
            "author": {"name": f"n{number}"},
            "when": datetime.datetime(2020, 1, 1 + number, 12),
            "zoned": datetime.datetime(2020, 1, 1 + number, 12, tzinfo=datetime.UTC),
            "day": datetime.date(2020, 1, 1 + number),
            "price": Decimal("1.50") * number,
            "good": number < 5,
            'say "hi"': f"v{number}",
            "SELECT": number,
            "Year": 100 - number,
            "": number,
            "$odd": number,
        },
    )
    for number in range(10)
]


def found(index: Index, where: Any, **arguments: Any) -> list[int]:
    return sorted(int(hit.document_id[1:]) for hit in index.search("x", k=100, where=where, **arguments))
