"""Rows of a data set become a batch of stage 2: a query, its positives and hard negatives each, flat, as token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lusirag_training.data.texts import Ids, ModelTexts, text_key


@dataclass(frozen=True, slots=True)
class ContrastiveBatch:
    """One process's share of a batch: B queries and M documents.

    Attributes:
        queries, documents: token ids of each. owner: (M,), the row of the query that a document belongs to.
        is_positive: (M,) bool. query_labels: (B,) equal for queries of equal text. document_keys: (M,) likewise.
        in_batch: whether the other examples' documents are negatives.
        query_texts, document_texts: the texts themselves, for a teacher; empty when none is asked.
    """

    queries: Ids
    documents: Ids
    owner: Tensor
    is_positive: Tensor
    query_labels: Tensor
    document_keys: Tensor
    in_batch: bool
    query_texts: tuple[str, ...] = ()
    document_texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ContrastiveRows:
    """Chooses what of each row is used, and tokenises it.

    Args:
        texts: of the model. positives, hard_negatives: at most so many of a row's, drawn anew each time.
        keep_texts: hand the texts on, for a teacher.
    """

    texts: ModelTexts
    positives: int
    hard_negatives: int
    keep_texts: bool = False

    def __call__(
        self,
        rows: Sequence[Mapping[str, Any]],
        generators: Sequence[np.random.Generator],
        *,
        instruction: str,
        document_instruction: str,
        in_batch: bool,
    ) -> ContrastiveBatch:
        """Make a batch.

        Args:
            rows: with query, positive (list) and negative (list). generators: one a row.
            instruction, document_instruction: of the data set. in_batch: see `ContrastiveBatch`.
        """
        queries = [row["query"] for row in rows]
        documents: list[str] = []
        owner: list[int] = []
        is_positive: list[bool] = []
        for number, (row, generator) in enumerate(zip(rows, generators, strict=True)):
            for positive, texts, most in (
                (True, row["positive"], self.positives),
                (False, row["negative"], self.hard_negatives),
            ):
                chosen = _sample(texts, most, generator)
                documents += chosen
                owner += [number] * len(chosen)
                is_positive += [positive] * len(chosen)
        return ContrastiveBatch(
            queries=self.texts.ids("query", queries, instruction=instruction),
            documents=self.texts.ids("document", documents, instruction=document_instruction),
            owner=torch.tensor(owner),
            is_positive=torch.tensor(is_positive),
            query_labels=torch.tensor([text_key(text) for text in queries]),
            document_keys=torch.tensor([text_key(text) for text in documents]),
            in_batch=in_batch,
            query_texts=tuple(queries) if self.keep_texts else (),
            document_texts=tuple(documents) if self.keep_texts else (),
        )


def _sample(texts: Sequence[str], most: int, generator: np.random.Generator) -> list[str]:
    """At most so many of the texts, without repetition, in a random order."""
    if len(texts) <= 1:
        return list(texts[:most])
    return [texts[at] for at in generator.permutation(len(texts))[:most]]
