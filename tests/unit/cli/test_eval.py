"""`lusirag eval`: suites and benchmarks from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lusirag.evaluation.benchmark import catalog
from lusirag.evaluation.benchmark.definition import Benchmark, BenchmarkTask
from tests.command_line import Run

HASHING = "python:tests.hashing_encoder:HashingEncoder"
TYPES = {
    "LocalClassification": "classification",
    "LocalClustering": "clustering",
    "LocalReranking": "reranking",
    "LocalRetrieval": "retrieval",
    "LocalSTS": "sts",
}


@pytest.fixture(autouse=True)
def _kept_in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUSIRAG_EVAL_CACHE", str(tmp_path / "kept"))


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Six texts in three languages that share their numbers."""
    own = {"en": "words", "fr": "paroles", "sw": "maneno"}
    rows = [
        {"id": f"{n}{tag}", "lang": tag, "parallel_id": str(n), "text": f"{word} {tag} {n * 7} {n * 13} {n} {n * 17}"}
        for n in range(1, 7)
        for tag, word in own.items()
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "numbers.parquet")
    return tmp_path / "numbers.parquet"


@pytest.fixture
def local_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small data sets of all five types in the place of mteb's."""
    import mteb

    from lusirag.evaluation.benchmark import tables
    from tests.mteb_tasks import load_local

    tasks = tuple(BenchmarkTask(name, kind, ("en", "sw"), None) for name, kind in TYPES.items())
    local = Benchmark("lusifer-paper", "Local", tasks, {"en": ("eng",), "sw": ("swa", "swh")})
    for module in (catalog, tables):
        monkeypatch.setattr(module, "load_benchmark", lambda name: local)
    monkeypatch.setattr(mteb, "get_task", lambda name, languages: load_local(name, languages))


class TestSuites:
    def test_the_bundled_suite_is_measured_beside_bm25(self, run: Run) -> None:
        result = run("eval", "udhr", "--languages", "en,sw", "-m", "lusifer-mini", "--measures", "ndcg@10", "--json")
        assert result.code == 0, result.err
        found = {(row["model"], row["direction"]): row for row in result.records}
        assert set(found) == {(m, d) for m in ("lusifer-mini", "BM25") for d in ("x2en", "en2x")}
        for direction in ("x2en", "en2x"):
            own, floor = found["lusifer-mini", direction]["ndcg@10"], found["BM25", direction]["ndcg@10"]
            assert own["low"] <= own["mean"] <= own["high"]
            assert own["mean"] > 0.85 > 0.4 > floor["mean"]

    def test_a_folder_of_ones_own_with_a_baseline_masks_and_a_picture(
        self, run: Run, suite: Path, tmp_path: Path
    ) -> None:
        options = ("--suite", suite, "-m", f"mine={HASHING}", "--baseline", "bm25", "--masked", "--by-language")
        result = run("eval", *options, "--plot", tmp_path / "plot.png")
        assert result.code == 0, result.err
        for part in (
            "nDCG@10 on numbers",
            "difference from BM25",
            "numbers, x2en, masked",
            "by language",
            "numbers, mixed",
        ):
            assert part in result.out
        assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")

    @pytest.mark.parametrize(
        ("form", "part"), [("markdown", "| searches |"), ("latex", r"\begin{tabular}"), ("table", "searches  ")]
    )
    def test_each_form_is_written(self, run: Run, suite: Path, form: str, part: str) -> None:
        result = run("eval", "--suite", suite, "-m", HASHING, "--format", form, "--measures", "mrr@10")
        assert (result.code, part in result.out) == (0, True), result.err

    def test_shared_numbers_are_all_that_bm25_finds(self, run: Run, suite: Path) -> None:
        result = run("eval", "--suite", suite, "-m", HASHING, "--masked", "--json", "--measures", "recall@1")
        found = {
            (row["direction"], row["masked"]): row["recall@1"]["mean"]
            for row in result.records
            if row["model"] == "BM25" and row["summary"]
        }
        assert found["x2en", False] == 1.0
        assert found.get(("x2en", True), 0.0) < 0.5

    def test_a_second_run_reads_what_the_first_kept(self, run: Run, suite: Path, tmp_path: Path) -> None:
        first = run("eval", "--suite", suite, "-m", HASHING, "--json")
        kept = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "kept" / "suites").iterdir()}
        assert run("eval", "--suite", suite, "-m", HASHING, "--json").out == first.out
        assert {file.name: file.stat().st_mtime_ns for file in (tmp_path / "kept" / "suites").iterdir()} == kept

    def test_its_searches_are_listed(self, run: Run, suite: Path) -> None:
        records = run("eval", "--suite", suite, "--list", "--json", "--max-items", 4).records
        assert {(row["direction"], row["language"], row["queries"]) for row in records} == {
            ("x2en", "fr", 4), ("en2x", "fr", 4), ("x2en", "sw", 4), ("en2x", "sw", 4), ("mixed", "all", 4)
        }  # fmt: skip


class TestBenchmarks:
    def test_the_papers_data_sets_are_listed_one_an_object(self, run: Run) -> None:
        records = run("eval", "lusifer-paper", "--list", "--json").records
        assert len({row["task"] for row in records}) == len(records) == 122
        assert sum(len(row["languages"]) for row in records) == 217
        [fever] = [row for row in records if row["task"] == "FEVER"]
        assert fever["instruction"] == "Given a claim, retrieve documents that support or refute the claim."
        assert fever["type"] == "retrieval"

    def test_a_list_can_be_narrowed_and_read(self, run: Run) -> None:
        result = run("eval", "lusifer-paper", "--list", "--languages", "sw,te", "--types", "retrieval")
        assert "IndicQARetrieval" in result.out
        assert "SciFact" not in result.out
        assert "2 data sets; 2 scores" in result.out

    def test_all_names_are_listed(self, run: Run) -> None:
        names = [row["name"] for row in run("eval", "--list", "--json").records]
        assert names == ["udhr", *catalog.benchmark_names()]

    @pytest.mark.usefixtures("local_benchmark")
    def test_all_five_types_run_and_resume_and_stand_beside_the_paper(self, run: Run, tmp_path: Path) -> None:
        result = run("eval", "lusifer-paper", "-m", f"mine={HASHING}", "--plot", tmp_path / "plot.svg")
        assert result.code == 0, result.err
        assert "LUSIFER (paper)" in result.out
        assert "53.12" in result.out  # the paper's Swahili
        for name in TYPES:
            assert name in result.out
        assert (tmp_path / "plot.svg").read_text("utf-8").startswith("<?xml")
        records = run("eval", "lusifer-paper", "-m", f"mine={HASHING}", "--json").records
        scores = {(row["task"], row["language"]): row["score"] for row in records if "score" in row}
        assert set(scores) == {(name, tag) for name in TYPES for tag in ("en", "sw")}
        [swahili] = [row for row in records if row.get("language") == "sw" and row.get("mean_of")]
        assert swahili["percent"] == pytest.approx(
            sum(v for (_, tag), v in scores.items() if tag == "sw") / 5, abs=1e-3
        )
        assert (swahili["scores"], swahili["of"]) == (5, 5)
        [overall] = [row for row in records if row.get("mean_of") == "all"]
        assert overall["percent"] == pytest.approx(sum(scores.values()) / 10, abs=1e-3)
        assert any(row.get("published") and row["scores"].get("sw") == 53.12 for row in records)

    @pytest.mark.usefixtures("local_benchmark")
    def test_retrieval_runs_through_an_index(self, run: Run) -> None:
        options = ("eval", "lusifer-paper", "-m", HASHING, "--types", "retrieval", "--languages", "sw", "--json")
        plain, through = (
            [row["score"] for row in run(*options, *more).records if "score" in row] for more in ((), ("--ann", "flat"))
        )
        assert through == pytest.approx(plain, abs=0.1)  # percent

    @pytest.mark.usefixtures("local_benchmark")
    def test_what_fails_is_told_and_the_rest_is_shown_as_a_part(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import mteb

        from tests.mteb_tasks import load_local

        def load(name: str, languages: Any) -> Any:
            if name == "LocalSTS":
                raise ConnectionError("Couldn't reach the hub\nat all")
            return load_local(name, languages)

        monkeypatch.setattr(mteb, "get_task", load)
        result = run("eval", "lusifer-paper", "-m", HASHING, "--types", "sts,retrieval", "--languages", "sw")
        assert result.code == 1  # what is shown is a part
        assert "LocalSTS is not complete: ConnectionError: Couldn't reach the hub at all" in result.err
        assert "1 of 2" in result.out
        nothing = run("eval", "lusifer-paper", "-m", HASHING, "--types", "sts")
        assert nothing.code == 1
        assert "no data set could be evaluated" in nothing.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "neither NAME nor --suite; give one: udhr, lusifer-paper"),
        (["udhr", "--suite", "x"], "both NAME and --suite"),
        (["lusifer-papers"], "did you mean lusifer-paper?"),
        (["udhr", "--types", "sts"], "a suite has no --types"),
        (["udhr", "--ann", "flat", "--mode", "dense"], "a suite has no --ann and no --mode"),
        (["lusifer-paper", "--masked"], "a benchmark has no --masked"),
        (["lusifer-paper", "--languages", "xx"], "xx"),
        (["lusifer-paper", "--types", "poetry"], "classification"),
        (["udhr", "--measures", "magic@3"], "ndcg@K"),
        (["udhr", "--measures", ","], "--measures names none"),
        (["udhr", "--baseline", "other"], "which is not measured; allowed"),
        (["udhr", "--languages", "en"], "holds no search"),
        (["udhr", "--plot", "plot.gif"], ".png, .svg, .pdf"),
        (["udhr", "--plot", "no/such/folder/plot.png"], "is no folder"),
        (["udhr", "-m", HASHING, "-m", f"{HASHING}", "-m", "a=x", "-m", "a=y"], "two models are called 'a'"),
        (["udhr", "-m", "python:nowhere:f"], "importable from here"),
        (["udhr", "-m", HASHING, "--dtype", "float16"], "none of the models takes --dtype"),
        (["udhr", "-m", f"BM25={HASHING}"], "'BM25', which is that of the floor"),
        (["udhr", "-m", f"={HASHING}"], "'', which is no name"),
        (["udhr", "--json", "--format", "latex"], "both --json and --format latex"),
        (["udhr", "--list", "--format", "markdown"], "a list is written as table or json"),
        (["lusifer-paper", "--measures", "mrr@10"], "a benchmark has no --measures"),
        (["lusifer-paper", "-m", HASHING, "--ann", "telepathy"], "ann is 'telepathy'"),
        (["udhr", "--measures", "ndcg@99999999999999999999"], "K from 1 to 1,000"),
        (["udhr", "--plot", "."], "no picture"),
        (["udhr", "--max-items", "-1"], "max-items"),
    ],
    ids=lambda value: "-".join(value)[:40] if isinstance(value, list) else "",
)
def test_wrong_use_is_told_in_a_line(run: Run, arguments: list[str], message: str) -> None:
    result = run("eval", *arguments)
    assert result.code == 2, result.err
    assert message in result.err
    assert "Traceback" not in result.err
    assert result.out == ""


def test_options_go_to_the_models_that_take_them(run: Run, suite: Path) -> None:
    result = run("eval", "--suite", suite, "-m", f"a={HASHING}", "-m", "lusifer-mini", "--device", "cpu", "--json")
    assert result.code == 0, result.err
    assert {row["model"] for row in result.records} == {"a", "lusifer-mini", "BM25"}


@pytest.mark.parametrize("name", ["nan_vectors", "short_vectors", "failing"])
def test_a_model_that_gives_no_vectors_is_told_in_a_line_and_never_measured(run: Run, suite: Path, name: str) -> None:
    result = run("eval", "--suite", suite, "-m", f"python:tests.odd_encoders:{name}", "--json")
    assert result.code == 1
    assert result.err.startswith(f"error: {name} ")
    assert result.err.count("\n") == 1
    assert result.out == ""


def test_names_are_written_as_they_are(run: Run, suite: Path) -> None:
    result = run("eval", "--suite", suite, "-m", f"mini[int8]={HASHING}", "-m", "python:tests.odd_encoders:key")
    assert "mini[int8]" in result.out
    assert "python:tests.odd_encoders:key" in result.out


def test_where_nothing_can_be_kept_is_told_before_anything_is_measured(run: Run, suite: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    result = run("eval", "--suite", suite, "-m", "python:tests.odd_encoders:failing", "--cache", tmp_path / "file")
    assert result.code == 1
    assert "results cannot be kept in" in result.err
    assert "--cache DIR" in result.err


@pytest.mark.usefixtures("local_benchmark")
def test_a_language_without_a_data_set_of_the_choice_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    local = catalog.load_benchmark("lusifer-paper")
    tasks = tuple(replace(t, languages=("en",)) if t.type == "retrieval" else t for t in local.tasks)
    monkeypatch.setattr(catalog, "load_benchmark", lambda name: replace(local, tasks=tasks))
    result = run("eval", "lusifer-paper", "-m", HASHING, "--types", "retrieval", "--languages", "en,sw")
    assert "no data set of this choice in or of: sw" in result.err


def test_a_suite_that_is_not_there(run: Run, tmp_path: Path) -> None:
    result = run("eval", "--suite", tmp_path / "gone")
    assert result.code == 1
    assert "no Parquet file there" in result.err


def test_records_are_json_of_one_line(run: Run, suite: Path) -> None:
    out = run("eval", "--suite", suite, "-m", HASHING, "--json").out
    assert all(isinstance(json.loads(line), dict) for line in out.splitlines())
