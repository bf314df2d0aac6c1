"""Running a benchmark: every kind of task, and a cache that computes nothing twice and mixes nothing up."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import pytest

from lusirag import Embedder
from lusirag.errors import InvalidArgumentError, ModelError
from lusirag.evaluation.benchmark.definition import Benchmark, BenchmarkTask, TaskScore
from lusirag.evaluation.benchmark.encoder import BenchmarkEncoder
from lusirag.evaluation.benchmark.planned import choose_split, plan_task
from lusirag.evaluation.benchmark.running import Run, RunProgress, cached_scores, get_task, run_benchmark
from tests.hashing_encoder import HashingEncoder

CODES = {"en": ("eng",), "fr": ("fra",), "sw": ("swa", "swh")}
KINDS = {
    "LocalClassification": "classification",
    "LocalMultilabel": "classification",
    "LocalPairs": "classification",
    "LocalClustering": "clustering",
    "LocalClusteringLegacy": "clustering",
    "LocalReranking": "reranking",
    "LocalRetrieval": "retrieval",
    "LocalSTS": "sts",
    "LocalSummaries": "sts",
}
# What lusifer-mini reaches in the worst language, less a little; chance is far below each.
BARS = {
    "LocalClassification": 0.9,  # chance 0.25
    "LocalMultilabel": 0.75,
    "LocalPairs": 0.85,  # chance 0.5
    "LocalClustering": 0.6,
    "LocalClusteringLegacy": 0.6,
    "LocalReranking": 0.9,
    "LocalRetrieval": 0.85,
    "LocalSTS": 0.45,
    "LocalSummaries": 0.35,
}


def benchmark(*names: str, languages: tuple[str, ...] = ("en", "fr", "sw")) -> Benchmark:
    tasks = tuple(BenchmarkTask(name, KINDS.get(name, "sts"), languages, None) for name in names)
    return Benchmark("local", "Local data sets", tasks, CODES)


def run(tasks: Benchmark, encoder: HashingEncoder, cache: Path, told: Any = None, **options: Any) -> Run:
    from tests.mteb_tasks import load_local

    return run_benchmark(tasks, BenchmarkEncoder(encoder, told), cache=cache, load_task=load_local, **options)


def loaded() -> list[tuple[str, tuple[str, ...]]]:
    """What was loaded since the last call."""
    from tests.mteb_tasks import LOADED

    taken = list(LOADED)
    LOADED.clear()
    return taken


def languages(result: Run) -> list[str]:
    return [score.language for score in result.scores]


def test_lusifer_mini_understands_every_kind_of_task_across_languages(tmp_path: Path) -> None:
    from tests.mteb_tasks import load_local

    model = BenchmarkEncoder(Embedder.load("lusifer-mini", runtime="onnx"))
    result = run_benchmark(benchmark(*KINDS, languages=("sw",)), model, cache=tmp_path, load_task=load_local)
    assert not result.failures
    scores = {score.task: score.score for score in result.scores}
    assert set(scores) == set(BARS)
    assert {name: score for name, score in scores.items() if not BARS[name] < score <= 1} == {}
    assert {score.task: score.type for score in result.scores} == KINDS


def test_scores_are_the_means_of_mtebs_main_scores(tmp_path: Path) -> None:
    from mteb import ResultCache

    encoder = HashingEncoder()
    result = run(benchmark("LocalSTS", "LocalRetrieval"), encoder, tmp_path)
    store, meta = ResultCache(tmp_path), BenchmarkEncoder(encoder).mteb_model_meta
    expected = []
    for name in ("LocalSTS", "LocalRetrieval"):
        kept = store.load_task_result(name, meta)
        assert kept is not None
        expected += [
            TaskScore(name, KINDS[name], tag, pytest.approx(kept.get_score(languages=list(codes))))
            for tag, codes in CODES.items()
        ]
    assert list(result.scores) == expected
    # "en" occurs in all three subsets of the first one
    of_sts = store.load_task_result("LocalSTS", meta)
    assert of_sts is not None
    assert len(of_sts.scores["validation"]) == 3
    assert result.scores[0].score == pytest.approx(sum(s["main_score"] for s in of_sts.scores["validation"]) / 3)


def test_a_run_tells_where_its_scores_come_from(tmp_path: Path) -> None:
    import mteb

    encoder = HashingEncoder()
    result = run(benchmark("LocalSTS"), encoder, tmp_path)
    assert (result.model, result.revision, result.mteb_version) == ("lusirag/hashing", "hashing-1", mteb.__version__)
    assert result.experiment == {"runtime": "onnx-int8"}
    came = result.tasks["LocalSTS"]
    assert (came.split, came.dataset_revision, came.subsets) == ("validation", "revision-1", ("en", "fr-en", "sw-en"))
    assert came.seconds > 0


def test_instructions_and_roles_of_all_kinds(tmp_path: Path) -> None:
    encoder = HashingEncoder(roles=frozenset({"query", "document"}))
    run(benchmark(*KINDS, languages=("fr",)), encoder, tmp_path, told={name: f"do {name}" for name in KINDS})
    asked = {(call.instruction, call.role) for call in encoder.calls}
    searched = {(f"do {name}", "document") for name in ("LocalRetrieval", "LocalReranking")}
    assert asked == {(f"do {name}", "query") for name in KINDS} | searched


def test_a_second_run_computes_and_loads_nothing(tmp_path: Path) -> None:
    encoder = HashingEncoder()
    first = run(benchmark(*KINDS), encoder, tmp_path)
    assert len(first.scores) == 27
    encoder.calls.clear()
    loaded()
    assert run(benchmark(*KINDS), encoder, tmp_path) == first
    assert (encoder.calls, loaded()) == ([], [])


def test_an_interrupted_run_goes_on_after_its_last_subset(tmp_path: Path) -> None:
    def stop(progress: RunProgress) -> None:
        if progress.subset == "sw":
            raise KeyboardInterrupt

    tasks, encoder = benchmark("LocalClustering", "LocalPairs"), HashingEncoder()
    loaded()
    with pytest.raises(KeyboardInterrupt):
        run(tasks, encoder, tmp_path / "a", on_progress=stop)
    assert loaded() == [("LocalClustering", ("en", "fr", "sw"))]
    before = len(encoder.calls)
    resumed = run(tasks, encoder, tmp_path / "a")
    assert loaded() == [("LocalClustering", ("sw",)), ("LocalPairs", ("en", "fr", "sw"))]
    assert (before, len(encoder.calls)) == (2, 3 + 2 * 3)
    whole = run(tasks, HashingEncoder(), tmp_path / "b")
    assert resumed.scores == whole.scores  # the same draws too


def test_more_languages_run_only_what_is_new(tmp_path: Path) -> None:
    encoder = HashingEncoder()
    one = run(benchmark("LocalPairs", languages=("fr",)), encoder, tmp_path)
    loaded()
    more = run(benchmark("LocalPairs", languages=("sw", "fr")), encoder, tmp_path)
    assert loaded() == [("LocalPairs", ("sw",))]
    assert (languages(one), languages(more)) == (["fr"], ["sw", "fr"])
    assert more.scores[1:] == one.scores


def test_a_language_brings_every_subset_in_which_it_occurs(tmp_path: Path) -> None:
    loaded()
    run(benchmark("LocalSTS", languages=("sw",)), HashingEncoder(), tmp_path)
    run(benchmark("LocalSTS", languages=("en",)), HashingEncoder(), tmp_path)
    assert loaded() == [("LocalSTS", ("sw-en",)), ("LocalSTS", ("en", "fr-en"))]


def test_failures_are_reported_and_the_rest_is_run(tmp_path: Path) -> None:
    tasks = benchmark("LocalGated", "LocalOddSplits", "NoSuchTask", "LocalPairs")
    result = run(tasks, HashingEncoder(), tmp_path)
    assert languages(result) == ["en", "fr", "sw"]
    assert result.failures == {
        "LocalGated": "PermissionError: gated: ask for access",
        "LocalOddSplits": "InvalidArgumentError: the data set has the splits holdout; "
        "one of test, test.full, test_expert, validation, dev, train is needed",
        "NoSuchTask": "KeyError: 'NoSuchTask'",
    }
    with pytest.raises(PermissionError):
        run(tasks, HashingEncoder(), tmp_path, stop_on_error=True)


def test_a_failing_subset_costs_no_other(tmp_path: Path) -> None:
    from tests.mteb_tasks import articles

    tasks = benchmark("LocalPairs")
    failing = HashingEncoder(fail_at=articles("fr")[5])
    result = run(tasks, failing, tmp_path)
    assert languages(result) == ["en", "sw"]
    assert result.failures == {
        "LocalPairs": "fr: ModelError: hashing failed: RuntimeError: the device is on fire and more lines"
    }
    assert result.tasks["LocalPairs"].subsets == ("en", "sw")
    with pytest.raises(ModelError, match="on fire"):
        run(tasks, failing, tmp_path, stop_on_error=True)
    loaded()
    assert languages(run(tasks, HashingEncoder(), tmp_path)) == ["en", "fr", "sw"]
    assert loaded() == [("LocalPairs", ("fr",))]


def test_a_language_whose_subsets_are_not_all_finished_has_no_score(tmp_path: Path) -> None:
    from tests.mteb_tasks import articles

    failing = HashingEncoder(fail_at=articles("sw")[5])
    assert languages(run(benchmark("LocalSTS"), failing, tmp_path)) == ["fr"]  # "en" needs all three


def test_a_language_that_a_data_set_lacks_is_a_failure(tmp_path: Path) -> None:
    tasks = Benchmark("x", "", (BenchmarkTask("LocalPairs", "sts", ("fr", "te"), None),), {**CODES, "te": ("tel",)})
    result = run(tasks, HashingEncoder(), tmp_path)
    assert (languages(result), result.failures) == (["fr"], {"LocalPairs": "no subset in te (tel)"})


@pytest.mark.parametrize(
    "other",
    [
        {"told": {"LocalPairs": "other words"}},
        {"numbers": "torch-float32"},
        {"fingerprint": "hashing-1-32", "dimension": 32},
        {"name": "another"},
    ],
)
def test_other_models_and_instructions_get_no_cached_scores(tmp_path: Path, other: dict[str, Any]) -> None:
    from tests.mteb_tasks import load_local

    tasks, both = benchmark("LocalPairs", languages=("fr",)), frozenset({"query", "document"})
    first = run(tasks, HashingEncoder(roles=both), tmp_path, {"LocalPairs": "words"})
    told = other.pop("told", {"LocalPairs": "words"})
    encoder = HashingEncoder(roles=both, **other)
    assert cached_scores(tasks, BenchmarkEncoder(encoder, told), cache=tmp_path, load_task=load_local) == ()
    run(tasks, encoder, tmp_path, told)
    assert encoder.calls
    model = BenchmarkEncoder(HashingEncoder(roles=both), {"LocalPairs": "words"})
    assert cached_scores(tasks, model, cache=tmp_path, load_task=load_local) == first.scores


def test_cached_scores_run_and_make_nothing(tmp_path: Path) -> None:
    from tests.mteb_tasks import load_local

    encoder = HashingEncoder()
    model, cache = BenchmarkEncoder(encoder), tmp_path / "cache"
    tasks = benchmark("LocalGated", "NoSuchTask", "LocalPairs")
    assert cached_scores(tasks, model, cache=cache, load_task=load_local) == ()
    assert not cache.exists()
    run(benchmark("LocalPairs", languages=("fr",)), encoder, cache)
    encoder.calls.clear()
    loaded()
    some = cached_scores(tasks, model, cache=cache, load_task=load_local)
    assert [(score.task, score.language) for score in some] == [("LocalPairs", "fr")]
    assert (encoder.calls, loaded()) == ([], [])


def test_overwriting_runs_what_is_asked_for_and_keeps_the_rest(tmp_path: Path) -> None:
    encoder = HashingEncoder()
    before = run(benchmark("LocalPairs", "LocalSTS"), encoder, tmp_path)
    loaded()
    encoder.calls.clear()
    again = run(benchmark("LocalPairs", languages=("sw",)), encoder, tmp_path, overwrite=True)
    assert loaded() == [("LocalPairs", ("sw",))]
    assert len(encoder.calls) == 2
    assert again.scores == tuple(s for s in before.scores if s.task == "LocalPairs" and s.language == "sw")
    assert run(benchmark("LocalPairs", "LocalSTS"), encoder, tmp_path).scores == before.scores
    assert loaded() == []
    run(benchmark("LocalGated", languages=("fr",)), encoder, tmp_path, overwrite=True)


@pytest.mark.parametrize("damage", [b'{"dataset_revision": "rev', b"{}", b""])
def test_half_a_result_counts_as_none(tmp_path: Path, damage: bytes) -> None:
    tasks, encoder = benchmark("LocalPairs", languages=("fr",)), HashingEncoder()
    first = run(tasks, encoder, tmp_path)
    (kept,) = tmp_path.rglob("LocalPairs.json")
    kept.write_bytes(damage)
    loaded()
    assert run(tasks, encoder, tmp_path).scores == first.scores
    assert loaded() == [("LocalPairs", ("fr",))]


def test_results_of_another_revision_of_the_data_are_not_used(tmp_path: Path) -> None:
    tasks, encoder = benchmark("LocalPairs", languages=("fr",)), HashingEncoder()
    run(tasks, encoder, tmp_path)
    (kept,) = tmp_path.rglob("LocalPairs.json")
    kept.write_text(kept.read_text().replace("revision-1", "revision-0"))
    loaded()
    assert run(tasks, encoder, tmp_path).tasks["LocalPairs"].dataset_revision == "revision-1"
    assert loaded() == [("LocalPairs", ("fr",))]


def test_progress_names_each_step(tmp_path: Path) -> None:
    steps: list[RunProgress] = []
    run(benchmark("LocalPairs", "LocalSTS", languages=("fr",)), HashingEncoder(), tmp_path, on_progress=steps.append)
    assert steps == [
        RunProgress(0, 2, "LocalPairs", None),
        RunProgress(0, 2, "LocalPairs", "fr"),
        RunProgress(1, 2, "LocalSTS", None),
        RunProgress(1, 2, "LocalSTS", "fr-en"),
        RunProgress(2, 2, "LocalSTS", None),
    ]


def test_a_run_is_silent_and_leaves_everything_as_it_was(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    import datasets
    from mteb import ResultCache

    def state() -> tuple[Any, ...]:
        levels = logging.getLogger("mteb").level, logging.getLogger("datasets").level
        default = ResultCache(tmp_path).default_cache_path
        files = sorted((str(path), path.stat().st_mtime_ns) for path in default.rglob("*"))
        return levels, files, list(warnings.filters), datasets.are_progress_bars_disabled()

    before = state()
    with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.INFO):
        warnings.simplefilter("always")
        run(benchmark(*KINDS), HashingEncoder(), tmp_path)
    assert state() == before
    assert capfd.readouterr() == ("", "")
    assert [record.getMessage() for record in caplog.records if record.name.startswith(("mteb", "datasets"))] == []
    assert [str(warning.message) for warning in caught] == []


def test_codes_that_are_missing_are_refused_at_once(tmp_path: Path) -> None:
    tasks = Benchmark("x", "", (BenchmarkTask("LocalPairs", "sts", ("fr", "te", "xx"), None),), {**CODES, "te": ()})
    with pytest.raises(InvalidArgumentError, match="no codes for te, xx"):
        run(tasks, HashingEncoder(), tmp_path)


def test_no_tasks_give_no_scores(tmp_path: Path) -> None:
    assert run(benchmark(), HashingEncoder(), tmp_path).scores == ()


@pytest.mark.parametrize(
    ("splits", "chosen"),
    [
        (["validation", "test"], "test"),
        (["validation.full", "test.full", "validation"], "test.full"),
        (["train", "test_expert", "dev"], "test_expert"),
        (["dev", "validation"], "validation"),
        (["train", "dev"], "dev"),
        (["other", "train"], "train"),
    ],
)
def test_the_split_is_the_one_that_the_published_code_runs(splits: list[str], chosen: str) -> None:
    assert choose_split(splits) == chosen


def test_mtebs_own_data_sets_are_planned_without_their_data() -> None:
    codes = {"en": ("eng",), "es": ("spa",), "ko": ("kor",)}
    sts = plan_task(BenchmarkTask("STS17", "sts", ("en", "es"), None), codes, get_task)
    assert sts.split == "test"
    assert set(sts.subsets) == {"en-ar", "en-de", "en-en", "en-tr", "es-en", "es-es", "fr-en", "it-en", "nl-en"}
    klue = plan_task(BenchmarkTask("KLUE-STS", "sts", ("ko",), None), codes, get_task)
    assert (klue.split, klue.subsets, list(klue.task.eval_splits)) == ("validation", ("default",), ["validation"])
    with pytest.raises(ValueError, match="No subsets"):
        plan_task(BenchmarkTask("KLUE-STS", "sts", ("es",), None), codes, get_task)


def test_a_code_with_a_script_means_that_script_and_one_language_alone_means_its_own_subset() -> None:
    codes = {"bn": ("ben-Beng",), "bn-Latn": ("ben-Latn",), "sw": ("swh",)}
    entry = BenchmarkTask("BelebeleRetrieval", "retrieval", ("bn-Latn", "sw"), None)
    alone = plan_task(entry, codes, get_task, monolingual=True)
    assert set(alone.subsets) == {"ben_Latn-ben_Latn", "swh_Latn-swh_Latn"}
    mixed = plan_task(entry, codes, get_task)
    assert {"ben_Latn-eng_Latn", "eng_Latn-swh_Latn"} < set(mixed.subsets)
    assert not any("ben_Beng" in subset and "ben_Latn" not in subset for subset in mixed.subsets)


def test_a_cross_lingual_score_is_the_mean_over_languages_of_their_subsets(tmp_path: Path) -> None:
    entry = BenchmarkTask("LocalSTS", "sts", ("mul",), None)
    whole = Benchmark("local", "Across languages", (entry,), {"mul": ("eng", "fra", "swa", "swh")})
    encoder = HashingEncoder()
    [score] = run(whole, encoder, tmp_path).scores
    by_language = run(benchmark("LocalSTS"), encoder, tmp_path).scores
    assert score.language == "mul"
    assert score.score == pytest.approx(sum(one.score for one in by_language) / 3)
    assert len({one.score for one in by_language}) == 3
