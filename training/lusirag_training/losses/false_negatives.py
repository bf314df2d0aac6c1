"""Texts of other examples that are too near to an anchor to be wrong answers.

The three rules are those by which NV-Retriever (arXiv 2407.15831, section 3) limits mined negatives, applied to the
batch: "percentage" is its TopK-PercPos, "margin" its TopK-MarginPos, "absolute" its TopK-Abs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from lusirag.errors import InvalidArgumentError
from lusirag_training.losses.pairs import Pairs

Rule = Literal["percentage", "margin", "absolute"]
RULES: tuple[str, ...] = get_args(Rule)


@dataclass(frozen=True, kw_only=True)
class FalseNegatives:
    """How near is too near.

    Attributes:
        rule: a negative goes when its cosine to the anchor is above `value` times the cosine of the anchor's positive
            ("percentage"; where that is not above zero nothing goes), above that cosine less `value` ("margin"; may be
            negative), or above `value` itself ("absolute"). Of several positives the nearest counts.
        value: of the rule.
        own: judge the example's own hard negatives too, and not only other examples' texts.
    """

    rule: str = "percentage"
    value: float = 0.95
    own: bool = False

    def __post_init__(self) -> None:
        """Refuse a rule that is none.

        Raises:
            InvalidArgumentError: another rule, or a percentage outside of 0 to 1.
        """
        if self.rule not in RULES:
            raise InvalidArgumentError(f"false-negative rule is {self.rule!r}; allowed: {', '.join(RULES)}")
        if self.rule == "percentage" and not 0 < self.value <= 1:
            raise InvalidArgumentError(f"percentage of false negatives is {self.value}; above 0 and up to 1 is allowed")

    def find(self, cosine: Tensor, pairs: Pairs) -> Tensor:
        """The pairs of `pairs.negative` that may be right answers.

        Args:
            cosine: (A, R), by the model itself or by a teacher.
            pairs: of the same anchors and references.

        Returns:
            (A, R) bool.
        """
        with torch.no_grad():
            nearest = cosine.masked_fill(~pairs.positive, -torch.inf).amax(1, keepdim=True)  # (A, 1)
            suspects = pairs.negative if self.own else pairs.negative & ~pairs.own
            return suspects & (cosine > self._limit(nearest))

    def _limit(self, nearest: Tensor) -> Tensor:
        """Limits (A, 1) from the cosines of the nearest positives (A, 1), -inf where there is none."""
        if self.rule == "percentage":
            return torch.where(nearest > 0, nearest * self.value, torch.inf)
        if self.rule == "margin":
            return torch.where(nearest.isfinite(), nearest - self.value, torch.inf)
        return torch.full_like(nearest, self.value)
