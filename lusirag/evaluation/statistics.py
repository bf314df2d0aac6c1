"""How sure a mean over queries is, and whether one system's is better than another's.

The same text in several languages is one item: where it is hard, it is hard in all of them, so that L languages of P
texts are not L * P independent queries. Both procedures draw whole items: the bootstrap (Efron 1979) resamples them
with replacement, the randomisation test (Smucker, Allan and Carterette 2007) exchanges the systems' values of an item.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lusirag.errors import InvalidArgumentError

CONFIDENCE = 0.95
RESAMPLES = 2000
PERMUTATIONS = 9999
_CELLS_AT_ONCE = 4_000_000  # of resampled values; bounds memory

Values = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """A mean, and between which bounds it lies in 95 % of the resamples; NaN where a single item tells nothing."""

    mean: float
    low: float
    high: float


class Difference(NamedTuple):
    """By how much a mean is above another's, its interval, and how likely such a difference is by chance alone."""

    mean: float
    low: float
    high: float
    p: float


class Sample(NamedTuple):
    """The values of some queries, language by language.

    Attributes:
        values: (L, P), the mean value of the queries of item p in language l; NaN where there is none.
        weights: (L, P), how many queries these are.
        items: P names.
    """

    values: Values
    weights: Values
    items: tuple[str, ...]

    @classmethod
    def of(cls, languages: Sequence[tuple[Sequence[str], Values]]) -> Sample:
        """Put together for each language the item of each query and its value.

        Raises:
            InvalidArgumentError: there is no query at all, or none in one of the languages.
        """
        if not languages or not all(len(names) for names, _ in languages):
            raise InvalidArgumentError("there is no query to take a mean of; give one at least in each language")
        items = sorted({item for names, _ in languages for item in names})
        place: Mapping[str, int] = {item: number for number, item in enumerate(items)}
        sums, weights = np.zeros((len(languages), len(items))), np.zeros((len(languages), len(items)))
        for row, (names, values) in enumerate(languages):
            at = [place[name] for name in names]
            np.add.at(sums[row], at, values)
            np.add.at(weights[row], at, 1)
        with np.errstate(invalid="ignore"):
            return cls(sums / weights, weights, tuple(items))

    def minus(self, other: Sample) -> Sample:
        """The differences of two systems' values on the same queries.

        Raises:
            InvalidArgumentError: they are not the same queries.
        """
        if self.items != other.items or not np.array_equal(self.weights, other.weights):
            raise InvalidArgumentError("the two systems were not measured on the same queries; measure both again")
        return Sample(self.values - other.values, self.weights, self.items)

    @property
    def mean(self) -> float:
        """Mean over the queries of a language, then over languages."""
        return float(_means(self, np.arange(len(self.items))[None])[0])


def interval(sample: Sample, *, seed: int = 0) -> Interval:
    """The mean over languages with its bootstrap interval (percentiles)."""
    low, high = _bootstrap(sample, seed)
    return Interval(sample.mean, low, high)


def difference(sample: Sample, baseline: Sample, *, seed: int = 0) -> Difference:
    """By how much a system is better than a baseline on the same queries, in both directions.

    Raises:
        InvalidArgumentError: they are not the same queries.
    """
    from scipy.stats import permutation_test

    between = sample.minus(baseline)
    low, high = _bootstrap(between, seed)
    # What each item adds to the mean: exchanging the systems on an item changes its sign.
    shares = between.weights / between.weights.sum(1, keepdims=True) / len(between.weights)
    added = np.nansum(between.values * shares, axis=0)  # (P,)
    if len(added) < 2 or not added.any():
        return Difference(between.mean, low, high, 1.0)
    added = np.round(added * len(added), 12)  # equal contributions are equal, whatever the order of their sums
    test = permutation_test(
        (added,),
        np.sum,
        permutation_type="samples",
        n_resamples=PERMUTATIONS,
        batch=max(1, _CELLS_AT_ONCE // len(added)),
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    return Difference(between.mean, low, high, float(test.pvalue))


def _bootstrap(sample: Sample, seed: int) -> tuple[float, float]:
    from scipy.stats import bootstrap

    if len(sample.items) < 2:
        return math.nan, math.nan

    def statistic(drawn: npt.NDArray[np.int64], axis: int = -1) -> Any:
        return _means(sample, drawn)

    found = bootstrap(
        (np.arange(len(sample.items)),),
        statistic,
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        method="percentile",
        batch=max(1, _CELLS_AT_ONCE // sample.values.size),
        vectorized=True,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def _means(sample: Sample, drawn: npt.NDArray[np.int64]) -> Values:
    """The mean over languages of items (..., P) drawn with replacement, without languages of which none was drawn."""
    size = len(sample.items)
    rows = drawn.reshape(-1, size)  # (R, P)
    apart = rows + np.arange(len(rows))[:, None] * size
    counts = np.bincount(apart.ravel(), minlength=rows.size).reshape(drawn.shape).astype(float)  # (..., P)
    sums = counts @ np.nan_to_num(sample.values * sample.weights).T  # (..., L)
    weights = counts @ sample.weights.T  # (..., L)
    with np.errstate(invalid="ignore"):
        means: Values = np.nanmean(np.where(weights > 0, sums / weights, np.nan), axis=-1)
    return means
