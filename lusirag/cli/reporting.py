"""Tables of figures on standard output, in the form that was asked for."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lusirag.cli.console import output, show_table, write_json

if TYPE_CHECKING:
    from lusirag.evaluation.report.table import Table


class Form(StrEnum):
    """How figures are written."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"
    LATEX = "latex"


def show_tables(tables: Sequence[Table], form: Form, records: Iterable[Mapping[str, Any]]) -> None:
    """Write tables; with JSON the records instead, which hold all figures."""
    from lusirag.evaluation.report.formats import cell_texts, latex, markdown

    if form is Form.JSON:
        for record in records:
            write_json(record)
        return
    for number, table in enumerate(tables):
        if number:
            sys.stdout.write("\n")
        if form is Form.TABLE:
            output().print(table.title, markup=False)
            show_table(table.columns, cell_texts(table), whole=True)
            for line in table.notes:
                output().print(line, markup=False)
        else:
            sys.stdout.write((markdown if form is Form.MARKDOWN else latex)(table))
