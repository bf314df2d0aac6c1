"""The contrastive loss that a trainer holds: one object from plain options, `loss(candidates) -> scalar`.

B queries, M documents, A anchors, R references.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from lusirag.errors import InvalidArgumentError
from lusirag_training.losses.candidates import Candidates
from lusirag_training.losses.false_negatives import FalseNegatives
from lusirag_training.losses.mining import hard_pairs
from lusirag_training.losses.objectives import distillation, nt_xent, sup_con
from lusirag_training.losses.pairs import Pairs, Side, make_pairs
from lusirag_training.losses.similarity import SIMILARITIES, cosines, similarity

Kind = Literal["nt_xent", "sup_con", "info_nce"]
KINDS: tuple[str, ...] = get_args(Kind)
JUDGES = ("model", "teacher")


@dataclass(frozen=True)
class Diagnostics:
    """What the loss saw, as detached scalars on its device; of the whole vectors, before mining.

    Attributes:
        accuracy: share of the queries (with a positive) whose nearest positive is nearer than every negative document.
        positive_cosine, negative_cosine: means over the pairs of query and document.
        false_negatives: share of the negative pairs, of all anchors, that were left out as too near.

    A mean over nothing is nan.
    """

    accuracy: Tensor
    positive_cosine: Tensor
    negative_cosine: Tensor
    false_negatives: Tensor


@dataclass(frozen=True)
class LossValue:
    """A loss with its gradient, and what it saw."""

    loss: Tensor
    diagnostics: Diagnostics


@dataclass(frozen=True, kw_only=True)
class ContrastiveLoss:
    """A contrastive loss over the queries, positives and hard negatives of one batch.

    Attributes:
        kind: "nt_xent" and "sup_con" take queries and positives as anchors and everything in the batch as candidates,
            as the published recipe does; "info_nce" takes queries as anchors and documents as candidates, the usual
            loss of retrieval.
        similarity: "cosine", or "l2", minus the distance of normalised vectors (published: is_distance).
        temperature: similarities are divided by it.
        miner_epsilon: of the multi-similarity miner; published: 0.25; None mines nothing.
        symmetric: info_nce only: the mean with the same loss of positives over the batch's queries.
        false_negatives: leave out negatives that may be right; None keeps all (equal texts always go).
        judge: whose cosines tell false negatives, "model" or "teacher".
        matryoshka: prefix lengths of the vectors; the loss is their weighted mean, each prefix normalised for itself.
            Empty: the whole vectors alone. Miner and distillation look at the prefix, false negatives are judged once,
            by the whole vectors.
        matryoshka_weights: one for each length; all alike when empty.
        distillation_weight: of the KL divergence from the teacher's ranking of the documents, which is added.
        distillation_temperature: of both rankings; `temperature` when None.
    """

    kind: str = "nt_xent"
    similarity: str = "cosine"
    temperature: float = 0.05
    miner_epsilon: float | None = None
    symmetric: bool = False
    false_negatives: FalseNegatives | None = None
    judge: str = "model"
    matryoshka: Sequence[int] = ()
    matryoshka_weights: Sequence[float] = ()
    distillation_weight: float = 0.0
    distillation_temperature: float | None = None

    def __post_init__(self) -> None:
        """Check all options together.

        Raises:
            InvalidArgumentError: lists everything that is not allowed.
        """
        lengths, weights = self.matryoshka, self.matryoshka_weights
        rules = [
            (self.kind in KINDS, f"kind is {self.kind!r}; allowed: {', '.join(KINDS)}"),
            (self.similarity in SIMILARITIES, f"similarity is {self.similarity!r}; allowed: {', '.join(SIMILARITIES)}"),
            (self.judge in JUDGES, f"judge is {self.judge!r}; allowed: {', '.join(JUDGES)}"),
            (self.temperature > 0, f"temperature is {self.temperature}; it must be above 0"),
            (
                self.miner_epsilon is None or self.miner_epsilon >= 0,
                f"miner_epsilon is {self.miner_epsilon}; it must be 0 or more, or None",
            ),
            (not self.symmetric or self.kind == "info_nce", f"symmetric is for info_nce alone, not for {self.kind!r}"),
            (
                all(length > 0 for length in lengths) and len(set(lengths)) == len(lengths),
                f"matryoshka is {list(lengths)}; different lengths above 0 are needed",
            ),
            (
                not weights or (len(weights) == len(lengths) and min(weights) >= 0 and sum(weights) > 0),
                f"matryoshka_weights are {list(weights)}; one of 0 or more for each of {list(lengths)} is needed",
            ),
            (self.distillation_weight >= 0, f"distillation_weight is {self.distillation_weight}; it must be 0 or more"),
            (
                self.distillation_temperature is None or self.distillation_temperature > 0,
                f"distillation_temperature is {self.distillation_temperature}; it must be above 0, or None",
            ),
        ]
        if problems := [problem for fine, problem in rules if not fine]:
            raise InvalidArgumentError(f"the loss cannot be made: {'; '.join(problems)}")

    @property
    def needs_teacher(self) -> bool:
        """Whether the candidates must bring a teacher's vectors."""
        return self.distillation_weight > 0 or (self.false_negatives is not None and self.judge == "teacher")

    def __call__(self, candidates: Candidates) -> Tensor:
        """The loss alone; see `measure`."""
        return self.measure(candidates).loss

    def measure(self, candidates: Candidates) -> LossValue:
        """Compute the loss and look at it, in one pass.

        Args:
            candidates: the global batch; vectors of any floating type, the loss is computed in float32; it is nan where
                a vector is not finite.

        Raises:
            InvalidArgumentError: an owner does not exist, a teacher's vectors are missing, or a matryoshka length is
                longer than the vectors.
        """
        self._check(candidates)
        sides = self._sides(candidates)
        whole = [cosines(*_sides_of(candidates, pairs)) for pairs in sides]  # (A, R) each
        kept, dropped = self._without_false_negatives(candidates, sides, whole)
        diagnostics = _diagnose(candidates, kept[0], whole[0].detach(), dropped)

        full = candidates.queries.shape[1]
        lengths = list(self.matryoshka) or [full]
        weights = list(self.matryoshka_weights) or [1.0] * len(lengths)
        loss = whole[0].new_zeros(())
        for length, weight in zip(lengths, weights, strict=True):
            part = candidates.prefix(length)
            matrices = whole if length == full else [cosines(*_sides_of(part, pairs)) for pairs in kept]
            loss = loss + weight / sum(weights) * self._of_prefix(part, kept, matrices)
        # No comparison holds of vectors that are no numbers: a miner would keep no pair, and the loss be a quiet 0.
        loss = loss + 0 * (candidates.queries.sum() + candidates.documents.sum())
        return LossValue(loss, diagnostics)

    def _check(self, candidates: Candidates) -> None:
        candidates.require_owners()
        if self.needs_teacher and candidates.teacher_queries is None:
            raise InvalidArgumentError("this loss asks a teacher, but the batch has no teacher vectors; name a teacher")
        longest, full = max(self.matryoshka, default=0), candidates.queries.shape[1]
        if longest > full:
            raise InvalidArgumentError(f"matryoshka asks for {longest} values, the vectors have {full}")

    def _sides(self, candidates: Candidates) -> list[Pairs]:
        """Who is compared with whom; the first anchors are the queries, the last references the documents."""
        if self.kind != "info_nce":
            return [make_pairs(candidates, anchors="labelled", references="all")]
        directions: list[tuple[Side, Side]] = [("queries", "documents"), ("positives", "queries")]
        return [
            make_pairs(candidates, anchors=anchors, references=references)
            for anchors, references in directions[: 1 + self.symmetric]
        ]

    def _without_false_negatives(
        self, candidates: Candidates, sides: list[Pairs], whole: list[Tensor]
    ) -> tuple[list[Pairs], Tensor]:
        """Narrow the negatives; the share that went."""
        if self.false_negatives is None:
            return sides, whole[0].new_zeros(())
        if self.judge == "teacher":
            judged = _teacher(candidates)
            whole = [cosines(*_sides_of(judged, pairs)) for pairs in sides]
        found = [self.false_negatives.find(cosine.detach(), pairs) for pairs, cosine in zip(sides, whole, strict=True)]
        kept = [replace(pairs, negative=pairs.negative & ~false) for pairs, false in zip(sides, found, strict=True)]
        total = torch.stack([pairs.negative.sum() for pairs in sides]).sum()
        return kept, torch.stack([false.sum() for false in found]).sum() / total

    def _of_prefix(self, candidates: Candidates, sides: list[Pairs], matrices: list[Tensor]) -> Tensor:
        """Objective and distillation for vectors of one length."""
        parts = [self._objective(cosine, pairs) for cosine, pairs in zip(matrices, sides, strict=True)]
        loss = torch.stack(parts).mean()
        if not self.distillation_weight:
            return loss
        judged = _teacher(candidates)
        ranking = distillation(
            cosines(candidates.queries, candidates.documents),
            cosines(judged.queries, judged.documents),
            _comparable(candidates),
            temperature=self.distillation_temperature or self.temperature,
        )
        return loss + self.distillation_weight * ranking

    def _objective(self, cosine: Tensor, pairs: Pairs) -> Tensor:
        positive, negative = pairs.positive, pairs.negative
        if self.miner_epsilon is not None:
            positive, negative = hard_pairs(cosine, positive, negative, epsilon=self.miner_epsilon)
        logits = similarity(cosine, self.similarity) / self.temperature
        return (sup_con if self.kind == "sup_con" else nt_xent)(logits, positive, negative)


def _sides_of(candidates: Candidates, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """The vectors of anchors (A, D) and references (R, D)."""
    texts = torch.cat([candidates.queries, candidates.documents])  # (N, D)
    return texts[pairs.anchors], texts[pairs.references]


def _teacher(candidates: Candidates) -> Candidates:
    """The batch as the teacher sees it; `_check` has seen that it does."""
    if candidates.teacher_queries is None or candidates.teacher_documents is None:
        raise InvalidArgumentError("the batch has no teacher vectors")
    return replace(candidates, queries=candidates.teacher_queries, documents=candidates.teacher_documents)


def _comparable(candidates: Candidates) -> Tensor:
    """(B, M) bool: the documents that a query is compared with."""
    rows = torch.arange(len(candidates.queries), device=candidates.owner.device)
    return (rows[:, None] == candidates.owner) | candidates.in_batch


def _diagnose(candidates: Candidates, pairs: Pairs, cosine: Tensor, dropped: Tensor) -> Diagnostics:
    """Look at queries against documents: the first rows and the last columns."""
    count, total = len(candidates.queries), len(candidates.documents)
    corner = (slice(0, count), slice(cosine.shape[1] - total, None))
    scores, positive, negative = cosine[corner], pairs.positive[corner], pairs.negative[corner]  # (B, M)
    best = scores.masked_fill(~positive, -torch.inf).amax(1)  # (B,)
    worst = scores.masked_fill(~negative, -torch.inf).amax(1)  # (B,)
    answered = positive.any(1)
    return Diagnostics(
        accuracy=(answered & (best > worst)).sum() / answered.sum(),
        positive_cosine=scores.masked_fill(~positive, 0).sum() / positive.sum(),
        negative_cosine=scores.masked_fill(~negative, 0).sum() / negative.sum(),
        false_negatives=dropped,
    )
