"""Which passages a condition on their columns lets through, exactly: SQL or a dict, evaluated by DuckDB.

    index.search("...", where="year >= 1990 AND language = 'de'")
    index.search("...", where={"year": {"$gte": 1990}, "language": "de"})

`matching` (masks.py) is the door. Both kinds become an `Expression` (expression.py): text by sql.py, which lets one
boolean expression through and nothing else; a dict by conditions.py, whose values never become SQL text.
"""

from __future__ import annotations

from lusirag.index.filters.expression import Where
from lusirag.index.filters.masks import matching

__all__ = ["Where", "matching"]
