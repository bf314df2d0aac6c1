"""Every recipe of training/configs is read, put together on tiny backbones, and trained for three steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from lusirag_training.config import AlignmentConfig, ContrastiveConfig
from lusirag_training.config.reading import parse, read_yaml
from lusirag_training.trainer.records import read_records
from lusirag_training.trainer.running import run_stage
from tests.training_world import write_world

CONFIGS = Path(__file__).resolve().parents[2] / "training" / "configs"
PAPER = sorted((CONFIGS / "paper").glob("*.yaml"))
MINI = sorted((CONFIGS / "mini").glob("*.yaml"))
EMBEDDED = {"contrast", "gpu", "overnight"}  # the others train a whole language model
KINDS: Mapping[str, Any] = {"alignment": AlignmentConfig, "contrastive": ContrastiveConfig}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world"))


def test_there_is_a_pair_of_recipes_for_each_language_model() -> None:
    names = {file.stem for file in PAPER}
    for model in ("mistral-7b", "llama-3.1-8b", "qwen3-8b"):
        assert {f"align-{model}", f"contrast-{model}"} <= names


@pytest.mark.parametrize("file", PAPER, ids=lambda file: file.stem)
def test_a_paper_recipe_has_the_papers_numbers(file: Path) -> None:
    values = read_yaml(file)
    config = parse(values, KINDS[values["stage"]], origin=file.name)
    assert config.optimization.batch_size == 256
    assert config.optimization.weight_decay == 0.01
    assert config.optimization.schedule == "cosine"
    assert config.data.max_tokens == 512
    assert asdict(config.trainable.lora) == {"rank": 16, "alpha": 32, "dropout": 0.1}
    if isinstance(config, AlignmentConfig):
        assert config.optimization.learning_rate == 1.5e-4
        assert sum(phase.epochs for phase in config.data.phases) == 2
        assert config.alignment.mask_probability == 0.5
        assert config.model.settings["added_tokens"] == 1
        assert [each.cap for each in config.data.sets] == [100_000, 100_000]
    else:
        assert config.optimization.learning_rate == 5e-5
        assert (config.data.hard_negatives, config.loss.temperature, config.loss.miner_epsilon) == (7, 0.05, 0.25)
        caps = [100_000] * 4 + [97_800, 97_400, 6_420, 3_420, 1_280]
        assert [each.cap for each in config.data.sets][: len(caps)] == caps


@pytest.mark.parametrize("file", MINI, ids=lambda file: file.stem)
def test_a_small_recipe_is_sound(file: Path) -> None:
    values = read_yaml(file)
    config = parse(values, KINDS[values["stage"]], origin=file.name)
    if file.stem in EMBEDDED:
        assert config.model.settings["encoder_skip"]
    else:
        assert config.model.decoder_layers is None
    assert not any(Path(each.source).is_absolute() for each in config.data.sets)


@pytest.mark.parametrize("file", [*PAPER, *MINI], ids=lambda file: file.stem)
def test_a_recipe_runs_on_tiny_backbones(file: Path, world: Path, tmp_path: Path, tiny_directory: Path) -> None:
    values = read_yaml(file)
    settings = values["model"].get("settings", {}) | {"max_tokens": 128}
    if settings.get("encoder_skip"):
        settings["embedding_size"] = 32  # the tiny encoder's width
    bases = {"encoder": str(world / "encoder"), "decoder": str(world / "decoder")}
    start = {name: value for name, value in values["model"].items() if name in ("decoder_layers", "centre")}
    values["model"] = start | bases | {"settings": settings}
    for each in values["data"]["sets"]:
        each["source"] = str(world / "pairs.jsonl")
    if teachers := values.get("loss", {}).get("distillation"):
        teachers["teacher"] = [str(tiny_directory)] * len(teachers["teacher"])
    values["optimization"] |= {"batch_size": 8, "precision": "float32", "fsdp": False, "max_steps": 3}
    values["run"] |= {"output": str(tmp_path / "run"), "device": "cpu", "log_every": 1, "save_every": 3, "workers": 0}
    report = run_stage(parse(values, KINDS[values["stage"]], origin=file.name))
    assert report.steps == 3
    assert len(read_records(tmp_path / "run" / "training.csv")) == 3
