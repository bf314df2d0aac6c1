"""One batch as a contrastive loss sees it: queries, documents, and who belongs to whom.

B queries, M documents, D values a vector. Everything is flat, so that one query may have two positives and seven
negatives and the next one positive and none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lusirag.errors import InvalidArgumentError


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Vectors of one (global) batch. They need not be normalised, and may be bfloat16.

    An example is a query with the documents that it owns.

    Attributes:
        queries: (B, D).
        documents: (M, D), all positives and hard negatives, in any order.
        owner: (M,) integers, the row in `queries` that each document belongs to.
        is_positive: (M,) bool, whether it answers its query; else it is a hard negative of it.
        query_labels: (B,) integers, or None: examples of equal label are positives of each other, in the batch as a
            whole (so two rows with the same query text should have the same label).
        document_keys: (M,) int64, or None: a hash of each document's text. The same text is never a negative of a
            query that has it as a positive.
        in_batch: whether other examples' texts are negatives. False where they may be right too, as in data for
            classification and clustering: then an example has its own negatives only.
        teacher_queries, teacher_documents: (B, T) and (M, T), vectors of a teacher for the same texts, or None.
    """

    queries: Tensor
    documents: Tensor
    owner: Tensor
    is_positive: Tensor
    query_labels: Tensor | None = None
    document_keys: Tensor | None = None
    in_batch: bool = True
    teacher_queries: Tensor | None = None
    teacher_documents: Tensor | None = None

    def __post_init__(self) -> None:
        """Compare the shapes; all that is wrong is said at once.

        Raises:
            InvalidArgumentError: shapes or types do not fit together.
        """
        problems: list[str] = []
        if self.queries.dim() != 2 or self.documents.dim() != 2 or self.queries.shape[1] != self.documents.shape[1]:
            problems.append(
                f"queries have the shape {_shape(self.queries)} and documents {_shape(self.documents)}; "
                "(B, D) and (M, D) are needed"
            )
        count, total = len(self.queries), len(self.documents)
        if not count or not total:
            problems.append(f"there are {count} queries and {total} documents; at least one of each is needed")
        columns = [("owner", self.owner, total), ("is_positive", self.is_positive, total)]
        if self.query_labels is not None:
            columns.append(("query_labels", self.query_labels, count))
        if self.document_keys is not None:
            columns.append(("document_keys", self.document_keys, total))
        problems += [
            f"{name} has the shape {_shape(column)}, ({rows},) is needed"
            for name, column, rows in columns
            if column.shape != (rows,)
        ]
        if self.is_positive.dtype != torch.bool:
            problems.append(f"is_positive is {self.is_positive.dtype}, torch.bool is needed")
        problems += [
            f"{name} is {column.dtype}, integers are needed"
            for name, column, _ in columns
            if name != "is_positive" and (column.is_floating_point() or column.dtype == torch.bool)
        ]
        if (self.teacher_queries is None) != (self.teacher_documents is None):
            problems.append("teacher vectors are given for only one of queries and documents; give both or none")
        elif self.teacher_queries is not None and self.teacher_documents is not None:
            teachers = (self.teacher_queries, self.teacher_documents)
            if [len(each) for each in teachers] != [count, total] or len({each.shape[1:] for each in teachers}) != 1:
                problems.append(
                    f"teacher vectors have the shapes {' and '.join(map(_shape, teachers))}; "
                    f"({count}, T) and ({total}, T) are needed"
                )
        if problems:
            raise InvalidArgumentError(f"candidates do not fit together: {'; '.join(problems)}")

    def require_owners(self) -> None:
        """Look at the owners themselves (on a GPU this waits for it, so it is not part of construction).

        Raises:
            InvalidArgumentError: an owner is no row of `queries`.
        """
        if not len(self.owner):
            return
        low, high = self.owner.aminmax()
        if low < 0 or high >= len(self.queries):
            raise InvalidArgumentError(
                f"owner holds {int(low if low < 0 else high)}; rows of {len(self.queries)} queries, from 0, are needed"
            )

    def prefix(self, dimension: int) -> Candidates:
        """The same batch with the first `dimension` values of every vector (the teacher's stay whole)."""
        return replace(self, queries=self.queries[:, :dimension], documents=self.documents[:, :dimension])


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))
