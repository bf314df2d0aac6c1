"""Search across languages on parallel texts and on questions with passages, from Parquet files: no hub, no network."""

from lusirag.evaluation.suite.cache import RankingCache
from lusirag.evaluation.suite.catalog import UDHR
from lusirag.evaluation.suite.description import SetDescription, SuiteDescription, describe_suite
from lusirag.evaluation.suite.rankers import DenseRanker, LexicalRanker, Ranker
from lusirag.evaluation.suite.reading import read_tasks
from lusirag.evaluation.suite.results import Figure, Outcome, SuiteResults, run_tasks
from lusirag.evaluation.suite.tables import suite_tables
from lusirag.evaluation.suite.task import SearchTask

__all__ = [
    "UDHR",
    "DenseRanker",
    "Figure",
    "LexicalRanker",
    "Outcome",
    "Ranker",
    "RankingCache",
    "SearchTask",
    "SetDescription",
    "SuiteDescription",
    "SuiteResults",
    "describe_suite",
    "read_tasks",
    "run_tasks",
    "suite_tables",
]
