"""Small data sets for mteb's own task classes, of every class that the paper's benchmark uses, in three languages.

Their texts are articles of the Universal Declaration of Human Rights, which lie in the package. "Same meaning" is the
same article in another language, so a model that is good across languages scores high on each. Importing this imports
mteb, which takes seconds: do it inside a test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pyarrow.parquet as pq
from datasets import Dataset, DatasetDict
from mteb._evaluators.text.summarization_evaluator import DeprecatedSummarizationEvaluator
from mteb.abstasks import (
    AbsTask,
    AbsTaskClassification,
    AbsTaskClustering,
    AbsTaskClusteringLegacy,
    AbsTaskMultilabelClassification,
    AbsTaskPairClassification,
    AbsTaskRetrieval,
    AbsTaskSTS,
    AbsTaskSummarization,
)
from mteb.abstasks.task_metadata import TaskMetadata

from lusirag.embedding.catalog import ASSETS

SCRIPTS = {"en": "eng-Latn", "fr": "fra-Latn", "sw": "swa-Latn"}
OTHERS = ["de", "es", "it", "pt", "nl"]  # languages of what is learned from or compared with
LAST = 26
TOPICS = [4, 16, 23, 26]  # slavery, marriage, work, education


@cache
def articles(language: str) -> dict[int, str]:
    """{number: first paragraph} of the articles in a language."""
    table = pq.read_table(ASSETS / "udhr.parquet", columns=["text", "language", "article"])
    rows = [row for row in table.to_pylist() if row["language"] == language and row["article"] > 0]
    return {row["article"]: row["text"].splitlines()[0] for row in rows if row["article"] <= LAST}


def describe(name: str, kind: str, main_score: str, *, splits: Sequence[str] = ("test",), pairs: bool = False) -> Any:
    languages = {
        (f"{language}-en" if pairs and language != "en" else language): (
            [script, SCRIPTS["en"]] if pairs and language != "en" else [script]
        )
        for language, script in SCRIPTS.items()
    }
    return TaskMetadata(
        name=name, type=kind, main_score=main_score, description="A data set for tests.", reference="https://example.org",
        dataset={"path": "local", "revision": "revision-1"}, category="t2t", eval_splits=list(splits),
        eval_langs=languages, date=("2026-01-01", "2026-01-01"), dialect=[], domains=[], task_subtypes=[],
        license="cc0-1.0", annotations_creators="derived", modalities=["text"], sample_creation="found",
        bibtex_citation="",
    )  # fmt: skip


def local(build: Callable[[str, str], Any]) -> Callable[..., None]:
    """A `load_data` that makes {subset: build(language, split)} of the wanted subsets, and counts itself."""

    def load_data(self: Any, num_proc: int | None = None, **_: Any) -> None:
        LOADED.append((self.metadata.name, tuple(self.hf_subsets)))
        self.dataset = {subset: build(subset.split("-")[0], self.eval_splits[0]) for subset in self.hf_subsets}
        self.data_loaded = True

    return load_data


LOADED: list[tuple[str, tuple[str, ...]]] = []


def classified(language: str, split: str) -> DatasetDict:
    train = [(articles(other)[topic], topic) for other in OTHERS for topic in TOPICS]
    test = [(articles(language)[topic], topic) for topic in TOPICS]
    return DatasetDict(
        {
            name: Dataset.from_dict({"text": [text for text, _ in rows], "label": [TOPICS.index(t) for _, t in rows]})
            for name, rows in (("train", train), (split, test))
        }
    )


class LocalClassification(AbsTaskClassification):
    metadata = describe("LocalClassification", "Classification", "accuracy")
    n_experiments = 2
    load_data = local(classified)


def multilabelled(language: str, split: str) -> DatasetDict:
    pairs = [(a, b) for a in TOPICS for b in TOPICS if a < b]

    def rows(languages: Sequence[str]) -> Dataset:
        return Dataset.from_dict(
            {
                "text": [f"{articles(one)[a]} {articles(one)[b]}" for one in languages for a, b in pairs],
                "label": [[TOPICS.index(a), TOPICS.index(b)] for _ in languages for a, b in pairs],
            }
        )

    return DatasetDict({"train": rows(OTHERS), split: rows([language])})


class LocalMultilabel(AbsTaskMultilabelClassification):
    metadata = describe("LocalMultilabel", "MultilabelClassification", "lrap")
    n_experiments = 2
    load_data = local(multilabelled)


def paired(language: str, split: str) -> DatasetDict:
    here, there = articles(language), articles("de")
    pairs = [(number, other) for number in range(3, 11) for other in (number, number + 1)]
    columns = {
        "sentence1": [here[a] for a, _ in pairs],
        "sentence2": [there[b] for _, b in pairs],
        "labels": [int(a == b) for a, b in pairs],
    }
    return DatasetDict({split: Dataset.from_dict(columns)})


class LocalPairs(AbsTaskPairClassification):
    metadata = describe("LocalPairs", "PairClassification", "max_ap")
    load_data = local(paired)


def grouped(language: str, split: str) -> list[tuple[str, int]]:
    return [(articles(one)[topic], topic) for one in [language, *OTHERS] for topic in TOPICS]


class LocalClustering(AbsTaskClustering):
    metadata = describe("LocalClustering", "Clustering", "v_measure")
    max_fraction_of_documents_to_embed = None
    max_document_to_embed = 20  # drawn from the task's own random state
    n_clusters = 3
    load_data = local(
        lambda language, split: DatasetDict(
            {
                split: Dataset.from_dict(
                    {
                        "sentences": [text for text, _ in grouped(language, split)],
                        "labels": [label for _, label in grouped(language, split)],
                    }
                )
            }
        )
    )


class LocalClusteringLegacy(AbsTaskClusteringLegacy):
    metadata = describe("LocalClusteringLegacy", "Clustering", "v_measure")
    load_data = local(
        lambda language, split: DatasetDict(
            {
                split: Dataset.from_dict(
                    {
                        "sentences": [[text for text, _ in grouped(language, split)]],
                        "labels": [[label for _, label in grouped(language, split)]],
                    }
                )
            }
        )
    )


def searched(language: str, split: str) -> dict[str, Any]:
    """Articles of one language as queries, of English as documents; ids that are awkward on purpose."""
    queries, corpus = articles(language), articles("en")
    return {
        split: {
            "queries": Dataset.from_dict({"id": [f"q{number}" for number in queries], "text": list(queries.values())}),
            "corpus": Dataset.from_dict(
                {
                    "id": [document_id(number) for number in corpus],
                    "title": [f"Article {number}" for number in corpus],
                    "text": list(corpus.values()),
                }
            ),
            "relevant_docs": {f"q{number}": {document_id(number): 1} for number in queries},
            "top_ranked": None,
        }
    }


def document_id(number: int) -> str:
    return f"udhr/'{number}#1\""


class LocalRetrieval(AbsTaskRetrieval):
    metadata = describe("LocalRetrieval", "Retrieval", "ndcg_at_10")
    load_data = local(searched)


def reranked(language: str, split: str) -> dict[str, Any]:
    data = searched(language, split)
    numbers = list(articles(language))
    data[split]["top_ranked"] = {
        f"q{number}": [document_id(numbers[(at + step) % len(numbers)]) for step in range(0, 24, 3)]
        for at, number in enumerate(numbers)
    }
    return data


class LocalReranking(AbsTaskRetrieval):
    metadata = describe("LocalReranking", "Reranking", "map_at_1000")
    load_data = local(reranked)


def compared(language: str, split: str) -> DatasetDict:
    here, there = articles(language), articles("en" if language != "en" else "de")
    rows = [
        row
        for number in range(3, 11)
        for row in (
            (here[number], there[number], 5.0),
            (here[number], f"{there[number]} {there[number + 9]}", 3.0),
            (here[number], there[number + 9], 0.0),
        )
    ]
    first, second, scores = zip(*rows, strict=True)
    return DatasetDict({split: Dataset.from_dict({"sentence1": first, "sentence2": second, "score": scores})})


class LocalSTS(AbsTaskSTS):
    metadata = describe("LocalSTS", "STS", "cosine_spearman", splits=("train", "validation"), pairs=True)
    load_data = local(compared)


def summarized(language: str, split: str) -> DatasetDict:
    here = articles(language)
    columns = {
        "text": [here[topic] for topic in TOPICS],
        "human_summaries": [[articles("de")[topic], articles("es")[topic]] for topic in TOPICS],
        "machine_summaries": [
            [articles(language)[topic], f"{articles('it')[topic]} {articles('it')[9]}", articles("it")[9]]
            for topic in TOPICS
        ],
        "relevance": [[5.0, 3.0, 1.0] for _ in TOPICS],
    }
    return DatasetDict({split: Dataset.from_dict(columns)})


class LocalSummaries(AbsTaskSummarization):
    metadata = describe("LocalSummaries", "Summarization", "cosine_spearman")
    min_score, max_score = 1, 5
    evaluator = DeprecatedSummarizationEvaluator  # as in both data sets of the paper
    load_data = local(summarized)


class LocalGated(AbsTaskSTS):
    metadata = describe("LocalGated", "STS", "cosine_spearman")

    def load_data(self, num_proc: int | None = None, **_: Any) -> None:
        raise PermissionError("gated:\n ask for access")


class LocalOddSplits(AbsTaskSTS):
    metadata = describe("LocalOddSplits", "STS", "cosine_spearman", splits=("holdout",))


TASKS: dict[str, type[AbsTask]] = {
    task.metadata.name: task
    for task in (
        LocalClassification, LocalMultilabel, LocalPairs, LocalClustering, LocalClusteringLegacy, LocalRetrieval,
        LocalReranking, LocalSTS, LocalSummaries, LocalGated, LocalOddSplits,
    )
}  # fmt: skip


def load_local(name: str, codes: Sequence[str]) -> AbsTask:
    """As `mteb.get_task(name, languages=codes)`."""
    return TASKS[name]().filter_languages(list(codes))
