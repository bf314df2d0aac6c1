"""How well a search finds what it should."""

from lusirag.evaluation.ranking import mean_ndcg, mean_reciprocal_rank, ranking, recall

__all__ = ["mean_ndcg", "mean_reciprocal_rank", "ranking", "recall"]
