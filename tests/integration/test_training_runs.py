"""Whole runs of both stages over a tiny world: they learn, watch, keep, go on, and become models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lusirag import Embedder
from lusirag.errors import InvalidArgumentError, ModelError
from lusirag_training.config import ContrastiveConfig
from lusirag_training.trainer import objectives
from lusirag_training.trainer.checkpoints import MARKER, best_checkpoint, checkpoints
from lusirag_training.trainer.exporting import export_run
from lusirag_training.trainer.records import read_records
from lusirag_training.trainer.running import run_stage
from lusirag_training.trainer.runs import load_run
from lusirag_training.trainer.start import load_start
from lusirag_training.trainer.teachers import Teachers
from tests.training_world import alignment, contrastive, write_world

FROZEN = {"encoder": "frozen", "language_model": "frozen"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world"))


def losses(folder: Path) -> list[float]:
    return [record["loss"] for record in read_records(folder / "training.csv")]


def test_contrastive_training_learns_and_is_watched(world: Path, tmp_path: Path) -> None:
    config = contrastive(
        world,
        run={"output": str(tmp_path / "run"), "save_every": 6},
        data={"phases": [{"epochs": 5}]},
        loss={"name": "info_nce", "similarity": "cosine", "miner_epsilon": None},
        evaluation={"sets": {"dev": str(world / "pairs.jsonl")}, "every": 3},
    )
    seen: list[dict[str, float]] = []
    report = run_stage(config, progress=lambda record: seen.append(dict(record)))
    curve = losses(tmp_path / "run")
    assert report.steps == len(curve) == 30
    assert np.mean(curve[-5:]) < 0.8 * np.mean(curve[:5])
    evaluations = read_records(tmp_path / "run" / "evaluation.csv")
    assert [record["step"] for record in evaluations] == list(range(0, 31, 3))
    assert seen[0]["step"] == 0
    assert {"loss", "accuracy", "learning_rate", "tokens_per_second", "seconds_left"} <= seen[1].keys()
    assert any((tmp_path / "run").rglob("events.out.tfevents*"))
    kept = checkpoints(tmp_path / "run")
    figures = {record["step"]: record["mean"] for record in evaluations[1:] if record["step"] % 6 == 0}
    best = max(figures, key=lambda step: (figures[step], step))
    assert {folder.name for folder in kept} == {"checkpoint-30", f"checkpoint-{best:.0f}"}
    assert best_checkpoint(tmp_path / "run", "mean").name == f"checkpoint-{best:.0f}"


@pytest.mark.parametrize("attention", ["prefix", "bidirectional"])
def test_alignment_learns_with_a_frozen_language_model(world: Path, tmp_path: Path, attention: str) -> None:
    config = alignment(
        world,
        run={"output": str(tmp_path / "run")},
        alignment={"attention": attention, "mask_probability": 0.5},
        optimization={"learning_rate": 1e-2},
        data={"phases": [{"tasks": "reconstruction", "epochs": 2}, {"tasks": "all", "epochs": 2}]},
    )
    run_stage(config)
    curve = losses(tmp_path / "run")
    assert len(curve) == 24
    assert np.mean(curve[-3:]) < np.mean(curve[:3]) - 0.1
    trained = load_file(checkpoints(tmp_path / "run")[-1] / "trained.safetensors")
    assert not any(name.startswith(("language_model", "projection")) for name in trained)
    assert {"connector.added_tokens", "connector.feed_forward.0.weight"} <= trained.keys()
    assert any(name.startswith("multilingual_encoder") and ".lora_B" in name for name in trained)


def test_a_run_that_is_interrupted_goes_on_as_if_it_had_not_been(world: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"data": {"phases": [{"epochs": 2}]}, "trainable": {"lora": {"dropout": 0.3}}}
    whole = contrastive(world, run={"output": str(tmp_path / "whole")}, **changes)
    run_stage(whole)

    broken = contrastive(world, run={"output": str(tmp_path / "broken")}, **changes)

    def stop_at_seven(record: Any) -> None:
        if record["step"] == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_stage(broken, progress=stop_at_seven)
    assert len(losses(tmp_path / "broken")) == 7
    report = run_stage(broken)
    assert report.resumed_at == 6
    assert losses(tmp_path / "broken") == losses(tmp_path / "whole")
    ends = [load_file(checkpoints(tmp_path / name)[-1] / "trained.safetensors") for name in ("whole", "broken")]
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_finished_run_is_not_run_again(world: Path, tmp_path: Path) -> None:
    config = contrastive(world, run={"output": str(tmp_path / "run")})
    run_stage(config)
    before = losses(tmp_path / "run")
    assert run_stage(config).resumed_at == 6
    assert losses(tmp_path / "run") == before
    assert run_stage(config, restart=True).resumed_at == 0


def test_all_checkpoints_stay_where_a_recipe_says_so(world: Path, tmp_path: Path) -> None:
    run = {"output": str(tmp_path / "run"), "save_every": 2, "keep": "all"}
    run_stage(contrastive(world, run=run, optimization={"max_steps": 6}))
    assert [folder.name for folder in checkpoints(tmp_path / "run")] == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]


def test_a_half_written_checkpoint_is_passed_over(world: Path, tmp_path: Path) -> None:
    config = contrastive(world, run={"output": str(tmp_path / "run")}, optimization={"max_steps": 4})
    run_stage(config)
    (last,) = checkpoints(tmp_path / "run")
    (last / MARKER).unlink()
    assert run_stage(config).resumed_at == 0


def test_another_recipe_does_not_go_on_with_a_run(world: Path, tmp_path: Path) -> None:
    run = {"output": str(tmp_path / "run")}
    run_stage(contrastive(world, run=run))
    with pytest.raises(InvalidArgumentError, match=r"optimization.learning_rate was 0.003 and is 0.5"):
        run_stage(contrastive(world, run=run, optimization={"learning_rate": 0.5}))
    run_stage(contrastive(world, run=run | {"log_every": 2}))  # what only watches may change


def test_a_folder_of_something_else_is_left_alone(world: Path, tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear", "utf-8")
    with pytest.raises(InvalidArgumentError, match="holds something that is no run"):
        run_stage(contrastive(world, run={"output": str(tmp_path)}), restart=True)
    assert (tmp_path / "letters.txt").read_text("utf-8") == "dear"


def test_chunks_and_passes_change_memory_and_not_the_result(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    curves = []
    for chunk_tokens, pass_tokens in ((100_000, 100_000), (50, 100_000), (100_000, 50), (120, 30)):
        monkeypatch.setattr(objectives, "CPU_TOKENS", pass_tokens)
        folder = tmp_path / f"{chunk_tokens}-{pass_tokens}"
        trainable = {"lora": {"dropout": 0.0}}
        options = {"chunk_tokens": chunk_tokens, "learning_rate": 1e-4}
        run_stage(contrastive(world, run={"output": str(folder)}, trainable=trainable, optimization=options))
        curves.append(losses(folder))
    for curve in curves[1:]:
        np.testing.assert_allclose(curve, curves[0], rtol=1e-4)


def test_a_cpu_takes_a_chunk_in_passes_and_several_processes_take_it_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths, cpu = [2000, 1500, 1500, 1000, 900, 10], torch.device("cpu")
    assert [list(rows) for rows in objectives.passes(lengths, device=cpu)] == [[0, 1], [2, 3], [4, 5]]
    assert [list(rows) for rows in objectives.passes(lengths, device=torch.device("cuda"))] == [[0, 1, 2, 3, 4, 5]]
    monkeypatch.setattr(objectives, "several", lambda: True)
    assert [list(rows) for rows in objectives.passes(lengths, device=cpu)] == [[0, 1, 2, 3, 4, 5]]


def test_both_stages_and_export(world: Path, tmp_path: Path) -> None:
    first = alignment(world, run={"output": str(tmp_path / "align")})
    run_stage(first)
    aligned = load_run(tmp_path / "align")
    second = contrastive(
        world, model={"start": str(tmp_path / "align"), "encoder": None, "decoder": None, "settings": {}},
        run={"output": str(tmp_path / "contrast")},
    )  # fmt: skip
    run_stage(second)
    export_run(tmp_path / "contrast", tmp_path / "model")
    with Embedder.load(tmp_path / "model", runtime="torch") as embedder:
        vectors = embedder.encode_queries(["abc", "what is this"], instruction="Find")
    network = load_run(tmp_path / "contrast").network
    ids, mask = torch.tensor([[0, 5, 6, 7, 2]]), torch.ones(1, 5, dtype=torch.long)
    with torch.no_grad():
        fresh = load_run(tmp_path / "contrast", merge_adapters=False).network(ids, mask).embeddings
        torch.testing.assert_close(network(ids, mask).embeddings, fresh, atol=1e-4, rtol=1e-4)
        assert (aligned.network(ids, mask).embeddings - fresh).abs().max() > 1e-4
    assert vectors.shape == (2, 48)
    card = (tmp_path / "model" / "README.md").read_text("utf-8")
    assert "stage 2" in card
    assert str(world) not in card

    with pytest.raises(InvalidArgumentError, match="not with base models"):
        export_run(tmp_path / "contrast", tmp_path / "adapters", adapters_only=True)
    export_run(tmp_path / "align", tmp_path / "adapters", adapters_only=True)
    assert json.loads((tmp_path / "adapters" / "config.json").read_text("utf-8"))["lora"]["rank"] == 16
    with pytest.raises(InvalidArgumentError, match="best, last, 12"):
        load_run(tmp_path / "align", checkpoint="5")
    (tmp_path / "align" / "checkpoint-12" / MARKER).unlink()
    with pytest.raises(ModelError, match="no complete checkpoint"):
        load_run(tmp_path / "align")


def test_an_encoder_skip_begins_where_the_encoder_stands(world: Path, tmp_path: Path) -> None:
    settings = {"max_tokens": 40, "encoder_skip": True, "projection": "linear", "embedding_size": 32}
    model = {"settings": settings | {"templates": {"query": "ask: {text}", "document": "it says: {text}"}}}
    sets = {"sets": [{"name": "pairs", "source": str(world / "pairs.jsonl")}]}
    config = contrastive(
        world,
        model=model,
        data=sets,
        run={"output": str(tmp_path / "run")},
        optimization={"learning_rate": 1e-12, "max_steps": 2},
    )
    run_stage(config)
    network = load_run(tmp_path / "run").network
    ids, mask = torch.tensor([[0, 5, 6, 7, 2]]), torch.ones(1, 5, dtype=torch.long)
    with torch.no_grad():
        expected = network.encode(ids, mask).mean(dim=1)
        torch.testing.assert_close(network(ids, mask).embeddings, expected, atol=1e-5, rtol=0)

    centred = contrastive(
        world,
        model=model | {"centre": 1.0},
        data=sets,
        run={"output": str(tmp_path / "centred")},
        optimization={"learning_rate": 1e-12, "max_steps": 2},
    )
    run_stage(centred)
    export_run(tmp_path / "centred", tmp_path / "model")
    network.save_pretrained(tmp_path / "plain")
    shutil.copyfile(world / "encoder" / "tokenizer.json", tmp_path / "plain" / "tokenizer.json")
    pairs = [json.loads(line) for line in (world / "pairs.jsonl").read_text("utf-8").splitlines()]
    means = {}
    for name in ("plain", "model"):
        embedder = Embedder.load(tmp_path / name, runtime="torch")
        queries = embedder.encode_queries([pair["query"] for pair in pairs])
        documents = embedder.encode_documents([pair["positive"][0] for pair in pairs])
        means[name] = queries.mean(axis=0), documents.mean(axis=0)
    for before, after in zip(means["plain"], means["model"], strict=True):  # queries, then documents
        assert np.linalg.norm(after) < 0.7 * np.linalg.norm(before)
    apart = {name: np.linalg.norm(queries - documents) for name, (queries, documents) in means.items()}
    assert apart["model"] < apart["plain"]  # shorter vectors of unit length alone would lie farther apart


def test_a_connector_begins_as_an_orthogonal_map(world: Path) -> None:
    model = {"connector_gain": 3.0, "settings": {"max_tokens": 40, "added_tokens": 0}}
    network = load_start(contrastive(world, model=model).model, seed=0).network
    ids = torch.randint(4, 250, (4, 9))
    with torch.no_grad():
        states = network.encode(ids, torch.ones_like(ids))
        connected, _ = network.connector(states, torch.ones_like(ids))
    similar, wanted = (each.flatten(0, 1) @ each.flatten(0, 1).T for each in (connected, states))
    torch.testing.assert_close(similar, 9 * wanted, rtol=1e-3, atol=1e-2)
    table = contrastive(world, model=model | {"settings": {"connector": "embedding_table", "added_tokens": 0}})
    with pytest.raises(InvalidArgumentError, match="goes with connector ff"):
        load_start(table.model, seed=0)


def test_an_aligned_model_without_instructions_is_centred_once(world: Path, tmp_path: Path) -> None:
    """Stage 1 by reconstruction alone, then stage 2 with a centre, whose result has a projection already."""
    settings = {"max_tokens": 40, "encoder_skip": True, "projection": "linear", "embedding_size": 32}
    templates = {"query": "ask: {text}", "document": "it says: {text}"}
    sets = {"sets": [{"name": "pairs", "source": str(world / "pairs.jsonl")}]}
    first: dict[str, Any] = {
        "model": {"settings": settings | {"templates": templates}},
        "data": sets | {"phases": [{"tasks": "reconstruction"}]},
        "run": {"output": str(tmp_path / "align")},
        "optimization": {"max_steps": 2},
    }
    with pytest.raises(InvalidArgumentError, match="no place for the instruction"):
        run_stage(alignment(world, **first | {"data": sets}))
    run_stage(alignment(world, **first))

    def second(start: str, output: str) -> ContrastiveConfig:
        model = {"start": str(tmp_path / start), "centre": 1.0, "encoder": None, "decoder": None, "settings": {}}
        run = {"output": str(tmp_path / output)}
        return contrastive(world, model=model, data=sets, run=run, optimization={"max_steps": 2})

    run_stage(second("align", "contrast"))
    connectors = [load_run(tmp_path / run).network.connector.state_dict() for run in ("align", "contrast")]
    assert not torch.equal(connectors[0]["added_tokens"], connectors[1]["added_tokens"])
    torch.testing.assert_close(*(each["feed_forward.0.weight"] for each in connectors), atol=0.05, rtol=0)
    with pytest.raises(InvalidArgumentError, match="projection is not trained yet"):
        run_stage(second("contrast", "again"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trainable": FROZEN | {"connector": False, "projection": False}}, "nothing is trained"),
        ({"optimization": {"batch_size": 4096}, "data": {"leftovers": "drop"}}, "do not fill 4096"),
        ({"run": {"save_every": 5, "log_every": 2}}, "must be a multiple of run.log_every"),
        ({"optimization": {"fsdp": True}}, "start several by `accelerate launch`"),
    ],
)
def test_recipes_that_cannot_run_are_refused(world: Path, tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    changes["run"] = {"output": str(tmp_path / "run"), **changes.get("run", {})}
    with pytest.raises(InvalidArgumentError, match=words):
        run_stage(contrastive(world, **changes))


def test_gradient_checkpointing_changes_memory_and_not_the_result(world: Path, tmp_path: Path) -> None:
    curves = []
    for wanted in (False, True):
        folder = tmp_path / str(wanted)
        options = {"gradient_checkpointing": wanted, "learning_rate": 1e-3}
        run_stage(
            contrastive(
                world,
                run={"output": str(folder)},
                trainable={"encoder": "full", "lora": {"dropout": 0.0}},
                optimization=options,
            )
        )
        curves.append(losses(folder))
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-4)


def test_a_teacher_is_imitated(world: Path, tmp_path: Path, tiny_directory: Path) -> None:
    teacher = {"teacher": str(tiny_directory), "temperature": 0.1, "weight": 1.0}
    loss = {"name": "info_nce", "similarity": "cosine", "miner_epsilon": None}
    for name, more in (("alone", {}), ("taught", {"distillation": teacher})):
        run_stage(contrastive(world, run={"output": str(tmp_path / name)}, loss=loss | more))
    assert losses(tmp_path / "taught")[0] > losses(tmp_path / "alone")[0]


def test_several_teachers_are_one_whose_cosine_is_the_mean_of_theirs(tiny_directory: Path) -> None:
    small, other = Embedder.load(tiny_directory, runtime="torch"), Embedder.load("lusifer-mini")
    both = Teachers([small, other], [1.0, 3.0])
    queries, documents = ["What is a mill?", "Who owns the river?"], ["A mill grinds corn.", "No one.", "A song."]
    cosines = [each.encode_queries(queries) @ each.encode_documents(documents).T for each in (small, other)]
    joined = both.queries(queries) @ both.documents(documents).T
    np.testing.assert_allclose(joined, (cosines[0] + 3 * cosines[1]) / 4, atol=1e-6)


def test_a_run_takes_several_teachers(world: Path, tmp_path: Path, tiny_directory: Path) -> None:
    loss = {"name": "info_nce", "similarity": "cosine", "miner_epsilon": None}
    curves = []
    for teacher, shares in ((str(tiny_directory), None), ([str(tiny_directory)] * 2, [1.0, 2.0])):
        folder = tmp_path / f"run-{len(curves)}"
        more = {"distillation": {"teacher": teacher, "shares": shares, "temperature": 0.1}}
        run_stage(contrastive(world, run={"output": str(folder)}, loss=loss | more))
        curves.append(losses(folder))
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-4)  # one teacher, named twice, is one teacher


def test_matryoshka_lengths_stand_in_the_model(world: Path, tmp_path: Path) -> None:
    config = contrastive(world, run={"output": str(tmp_path / "run")}, loss={"matryoshka_dimensions": [16, 32]})
    run_stage(config)
    assert load_run(tmp_path / "run").network.config.matryoshka_dimensions == [16, 32, 48]
    export_run(tmp_path / "run", tmp_path / "model")
    assert Embedder.load(tmp_path / "model", runtime="torch", dimension=16).dimension == 16


def test_a_loss_that_is_not_finite_stops_the_run(world: Path, tmp_path: Path) -> None:
    config = contrastive(
        world, run={"output": str(tmp_path / "run")}, optimization={"learning_rate": 1e38, "gradient_norm": 0}
    )
    with pytest.raises(ModelError, match=r"lower optimization\.learning_rate"):
        run_stage(config)
