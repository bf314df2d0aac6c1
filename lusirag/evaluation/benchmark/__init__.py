"""Published benchmarks: their data sets, languages and instructions, how mteb runs them, what they sum to."""

from lusirag.evaluation.benchmark.catalog import benchmark_names, benchmark_notes, load_benchmark
from lusirag.evaluation.benchmark.definition import Benchmark, BenchmarkTask, TaskScore
from lusirag.evaluation.benchmark.encoder import BenchmarkEncoder
from lusirag.evaluation.benchmark.index_search import IndexSearch
from lusirag.evaluation.benchmark.metadata import register_models
from lusirag.evaluation.benchmark.published import published_ablations, published_results
from lusirag.evaluation.benchmark.results import Summary, summarise
from lusirag.evaluation.benchmark.running import Run, cached_scores, run_benchmark
from lusirag.evaluation.benchmark.tables import summary_tables

__all__ = [
    "Benchmark",
    "BenchmarkEncoder",
    "BenchmarkTask",
    "IndexSearch",
    "Run",
    "Summary",
    "TaskScore",
    "benchmark_names",
    "benchmark_notes",
    "cached_scores",
    "load_benchmark",
    "published_ablations",
    "published_results",
    "register_models",
    "run_benchmark",
    "summarise",
    "summary_tables",
]
