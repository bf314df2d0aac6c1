"""How well a search finds what it should."""

from lusirag.evaluation.ranking import Measure, ranking

__all__ = ["Measure", "ranking"]
