"""Which texts of a batch are positives, and which are negatives, of which.

B queries, M documents, N = B + M texts (queries first), A anchors, R references.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lusirag_training.losses.candidates import Candidates

Side = Literal["queries", "positives", "documents", "labelled", "all"]


@dataclass(frozen=True)
class Pairs:
    """Anchors against references; a pair is positive, negative, or left out.

    Attributes:
        anchors: (A,) rows of the N texts. references: (R,) likewise.
        positive, negative: (A, R) bool, never both.
        own: (A, R) bool, both belong to the same example.
    """

    anchors: Tensor
    references: Tensor
    positive: Tensor
    negative: Tensor
    own: Tensor


def make_pairs(candidates: Candidates, *, anchors: Side, references: Side) -> Pairs:
    """Pair the texts of a batch by owner, label and text.

    Positive are a query and its positives, the positives of one query, and all these of examples with equal labels.
    Negative is everything else, except: a hard negative is nobody's anchor; without `in_batch` a pair lies within one
    example; a text that the anchor's example has as a positive is no negative of it, nor is an example that shares a
    positive text with it.

    Args:
        candidates: the batch.
        anchors, references: "queries"; "positives", documents that answer; "documents", all of them; "labelled",
            queries and positives; "all".
    """
    owners, groups, labelled = _texts(candidates)
    rows = _side(candidates, labelled, anchors)
    columns = _side(candidates, labelled, references)
    own = owners[rows, None] == owners[columns]  # (A, R)
    labels_meet = labelled[rows, None] & labelled[columns]  # (A, R)
    alike = labels_meet & (groups[rows, None] == groups[columns])  # (A, R)
    positive = alike & (rows[:, None] != columns)
    negative = labelled[rows, None] & ~alike
    if not candidates.in_batch:
        positive, negative = positive & own, negative & own
    if candidates.document_keys is not None:
        negative = negative & ~_same_text(candidates, groups, labels_meet, rows, columns)
    return Pairs(rows, columns, positive, negative, own)


def _texts(candidates: Candidates) -> tuple[Tensor, Tensor, Tensor]:
    """Of all texts: example (N,), number of its label (N,), and whether it has one at all: no hard negative has."""
    count = len(candidates.queries)
    examples = torch.arange(count, device=candidates.owner.device)
    owners = torch.cat([examples, candidates.owner])  # (N,)
    numbers = examples
    if candidates.query_labels is not None:
        numbers = torch.unique(candidates.query_labels, return_inverse=True)[1]  # (B,)
    labelled = torch.cat([torch.ones_like(examples, dtype=torch.bool), candidates.is_positive])  # (N,)
    return owners, numbers[owners], labelled


def _side(candidates: Candidates, labelled: Tensor, side: Side) -> Tensor:
    """The rows of one side, queries before documents."""
    count = len(candidates.queries)
    rows = torch.arange(len(labelled), device=labelled.device)
    if side == "queries":
        return rows[:count]
    if side == "documents":
        return rows[count:]
    if side == "positives":
        return rows[count:][labelled[count:]]
    return rows[labelled] if side == "labelled" else rows


def _same_text(candidates: Candidates, groups: Tensor, labels_meet: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(A, R): the reference is, or answers with, a text that the anchor's label has among its positives."""
    count = len(candidates.queries)
    texts = torch.unique(candidates.document_keys, return_inverse=True)[1]  # (M,) number of each text
    answers = candidates.is_positive
    held = torch.zeros(count, len(texts), dtype=torch.bool, device=texts.device)  # label's number x text's number
    held[groups[count:][answers], texts[answers]] = True
    sharing = (held.float() @ held.float().T) > 0  # (B, B) labels with a positive text in common
    is_document = columns >= count  # (R,)
    is_held = held[groups[rows]][:, texts[(columns - count).clamp_min(0)]] & is_document  # (A, R)
    return is_held | (labels_meet & sharing[groups[rows]][:, groups[columns]])
