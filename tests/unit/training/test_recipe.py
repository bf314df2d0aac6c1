"""Recipes: YAML and --set become a checked configuration, or one error that lists every fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lusirag.errors import InvalidArgumentError
from lusirag_training.config import AlignmentConfig, ContrastiveConfig, read_config


def recipe(**sections: Any) -> dict[str, Any]:
    return {
        "stage": "contrastive",
        "model": {"encoder": "e", "decoder": "d"},
        "data": {"sets": [{"name": "a", "source": "a.jsonl"}]},
        "run": {"output": "out"},
    } | sections


def write(folder: Path, values: object) -> Path:
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(values), "utf-8")
    return file


def test_the_defaults_are_the_papers(tmp_path: Path) -> None:
    second = read_config(write(tmp_path, recipe()), ContrastiveConfig)
    assert (second.optimization.batch_size, second.optimization.learning_rate) == (256, 5e-5)
    assert (second.loss.temperature, second.loss.miner_epsilon, second.data.hard_negatives) == (0.05, 0.25, 7)
    assert (second.trainable.lora.rank, second.trainable.lora.alpha) == (16, 32)
    first = read_config(write(tmp_path, recipe(stage="alignment")), AlignmentConfig)
    assert first.optimization.learning_rate == 1.5e-4
    assert first.alignment.mask_probability == 0.5
    assert first.trainable.language_model == "frozen"
    assert [phase.tasks for phase in first.data.phases] == ["reconstruction", "all"]


def test_a_given_part_of_a_section_keeps_the_stages_other_defaults(tmp_path: Path) -> None:
    values = recipe(stage="alignment", trainable={"encoder": "frozen"}, optimization={"batch_size": 8})
    config = read_config(write(tmp_path, values), AlignmentConfig)
    assert (config.trainable.encoder, config.trainable.language_model) == ("frozen", "frozen")
    assert (config.optimization.batch_size, config.optimization.learning_rate) == (8, 1.5e-4)


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    values = recipe(run={"output": "out", "seed": -1}, loss={"temprature": 1}, optimization={"precision": "fp8"})
    values["data"]["sets"].append({"name": "a"})
    with pytest.raises(InvalidArgumentError) as caught:
        read_config(write(tmp_path, values), ContrastiveConfig)
    message = str(caught.value)
    assert "4 faults" in message
    for words in (
        "run.seed is -1",
        "loss.temprature is unknown",
        "'auto', 'float32' or 'bfloat16'",
        "sets.1.source is missing",
    ):
        assert words in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (recipe(model={}), "give either start"),
        (recipe(model={"start": "s", "encoder": "e"}), "give either start"),
        (recipe(model={"start": "s", "decoder_layers": 2}), "go with encoder"),
        (recipe(data={"sets": []}), "data.sets"),
        (recipe(data={"sets": [{"name": "a", "source": "s"}] * 2}), "several sets are named a"),
        (recipe(data={"sets": [{"name": "a", "source": "s"}], "phases": [{"sets": ["b"]}]}), "a phase names b"),
        (recipe(loss={"symmetric": True}), "symmetric goes with info_nce"),
        (recipe(loss={"matryoshka_dimensions": [8], "matryoshka_weights": [1, 2]}), "one weight for each"),
        (recipe(evaluation={"best": "x"}), "best is 'x', allowed: mean"),
        (recipe(run={"output": "o", "save_every": 5, "log_every": 2}), "must be a multiple of run.log_every"),
        (recipe(evaluation={"sets": {"dev": "d"}, "every": 300}), "and of evaluation.every"),
        (
            recipe(
                model={"encoder": "e", "settings": {"encoder_skip": True}, "centre": 0.5},
                trainable={"projection": False},
            ),
            "centre changes the projection",
        ),
        (
            recipe(model={"encoder": "e", "decoder": "d", "connector_gain": 2}, trainable={"connector": False}),
            "connector_gain changes the connector",
        ),
        (recipe(model={"start": "s", "connector_gain": 2}), "go with encoder"),
        (recipe(model={"encoder": "e", "centre": 0.5}), "centre needs settings.encoder_skip"),
        (recipe(stage="alignment"), "stage is 'alignment'"),
        ([1], "no mapping"),
    ],
)
def test_a_fault_is_named(tmp_path: Path, values: Any, words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        read_config(write(tmp_path, values), ContrastiveConfig)


def test_alignment_has_no_centre(tmp_path: Path) -> None:
    model = {"encoder": "e", "decoder": "d", "settings": {"encoder_skip": True}, "centre": 0.5}
    with pytest.raises(InvalidArgumentError, match="centre is of stage 2"):
        read_config(write(tmp_path, recipe(stage="alignment", model=model)), AlignmentConfig)


def test_set_changes_values_and_items_of_lists(tmp_path: Path) -> None:
    config = read_config(
        write(tmp_path, recipe()),
        ContrastiveConfig,
        changes=["run.seed=0", "optimization.learning_rate=1e-4", "data.sets.0.cap=7", "loss.miner_epsilon=null"],
    )
    assert (config.run.seed, config.optimization.learning_rate, config.data.sets[0].cap) == (0, 1e-4, 7)
    assert config.loss.miner_epsilon is None


@pytest.mark.parametrize("change", ["run.seed", "=3", "data.sets.5.cap=1", "run.output.deep=1", "run.seed=[1"])
def test_a_change_that_cannot_be_made_is_refused(tmp_path: Path, change: str) -> None:
    with pytest.raises(InvalidArgumentError, match="--set"):
        read_config(write(tmp_path, recipe()), ContrastiveConfig, changes=[change])


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="cannot be read"):
        read_config(tmp_path / "nothing.yaml", ContrastiveConfig)
    (tmp_path / "broken.yaml").write_text("a: [", "utf-8")
    with pytest.raises(InvalidArgumentError, match="is no YAML"):
        read_config(tmp_path / "broken.yaml", ContrastiveConfig)


def test_each_of_several_teachers_has_its_share(tmp_path: Path) -> None:
    def read(**distillation: Any) -> ContrastiveConfig:
        return read_config(write(tmp_path, recipe(loss={"distillation": distillation})), ContrastiveConfig)

    taught = read(teacher=["a", "b"], shares=[1, 3]).loss.distillation
    assert taught is not None
    assert (taught.teachers, taught.shares) == (["a", "b"], [1.0, 3.0])
    with pytest.raises(InvalidArgumentError, match="shares has 1 numbers for 2 teachers"):
        read(teacher=["a", "b"], shares=[1])
    with pytest.raises(InvalidArgumentError, match=r"distillation\.teacher"):
        read(teacher=[])
