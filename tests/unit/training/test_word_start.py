"""A connector begins as the map that says the language model's words as well as a linear one can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split

from lusirag.errors import InvalidArgumentError
from lusirag_training.trainer import words
from lusirag_training.trainer.assembly import assemble
from lusirag_training.trainer.running import run_stage
from tests.training_world import alignment, write_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_world(tmp_path_factory.mktemp("world"))
    choose = np.random.default_rng(3)
    lines = ["".join(choose.choice(list("abcdefghij klm"), 30)).strip() + " end" for _ in range(60)]
    (folder / "lines.txt").write_text("\n".join(lines), "utf-8")
    (folder / "texts.jsonl").write_text("\n".join(f'{{"text": "{line}"}}' for line in lines), "utf-8")
    return folder


def config(world: Path, **changes: Any) -> Any:
    data = {"sets": [{"name": "texts", "source": str(world / "texts.jsonl")}], "phases": [{"tasks": "reconstruction"}]}
    return alignment(world, **{"data": data, "alignment": {"word_gain": 2.0}} | changes)


def splitting(every: int) -> Tokenizer:
    """Every so many characters are a token, with number 0."""
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Split(Regex(f".{{1,{every}}}"), "isolated")
    return tokenizer


def test_tokens_are_joined_by_the_characters_they_share() -> None:
    read, written = splitting(3).encode("::abcdefg"), splitting(2).encode("abcdefg")
    shared = words._shared(read, written, before=2)  # ::a bcd efg over ab cd ef g
    assert [(token, len(found)) for token, found in shared] == [(0, 1), (1, 2), (2, 2)]
    assert words._shared(splitting(2).encode("::abcdefg"), written, before=2)[0][0] == 1  # the first is template alone


def test_it_is_the_ridge_regression_times_the_gain(world: Path) -> None:
    torch.manual_seed(0)
    stage = assemble(config(world))
    module, network = stage.module.eval(), stage.network.eval()
    passages = (world / "lines.txt").read_text("utf-8").splitlines()
    assert stage.words is not None
    pairs = list(words._pairs(network, module.token_embedding, stage.texts, stage.words, passages))
    states, said = (torch.cat(part) for part in zip(*pairs, strict=True))
    x, y = (part.detach().numpy() for part in (states, said))
    assert len(x) > words.LEAST * x.shape[1]
    centred = x - x.mean(0)
    scatter = centred.T @ centred
    slope = np.linalg.solve(
        scatter + words.RIDGE * scatter.diagonal().mean() * np.eye(len(scatter)), centred.T @ (y - y.mean(0))
    )
    foretold = centred @ slope
    assert np.square(y - y.mean(0) - foretold).sum() < 0.9 * np.square(y - y.mean(0)).sum()  # something is foretold
    with torch.no_grad():
        connected = network.connector.feed_forward(states.detach().float()).double().numpy()
    np.testing.assert_allclose(connected - y.mean(0), 2 * foretold, atol=2e-4)


def test_a_run_begins_so_and_goes_on_from_its_checkpoint(world: Path, tmp_path: Path) -> None:
    optimization = {"max_steps": 4, "learning_rate": 1e-4}
    run = {"output": str(tmp_path / "run"), "save_every": 2}
    assert run_stage(config(world, run=run, optimization=optimization)).steps == 4


def test_half_as_fine_weights_begin_so_too(world: Path) -> None:
    coarse = config(world, model={"dtype": "bfloat16"}, optimization={"precision": "bfloat16"})
    exact, rounded = (assemble(each).network.connector.feed_forward[2].weight for each in (config(world), coarse))
    assert float((exact.detach() - rounded.detach()).norm() / exact.detach().norm()) < 0.1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model": {"settings": {"connector": "embedding_table", "added_tokens": 0}}}, "goes with connector ff"),
        ({"data": {"sets": [{"name": "pairs", "source": "pairs.jsonl", "cap": 2}]}}, "words of text to begin with"),
    ],
)
def test_what_it_cannot_begin_with_is_told(world: Path, changes: dict[str, Any], told: str) -> None:
    for each in changes.get("data", {}).get("sets", []):
        each["source"] = str(world / each["source"])
    with pytest.raises(InvalidArgumentError, match=told):
        assemble(config(world, **changes))


def test_a_connector_that_is_there_is_not_overwritten(world: Path) -> None:
    for model in ({"connector_gain": 1.0}, {"start": "runs/other", "encoder": None, "decoder": None, "settings": {}}):
        with pytest.raises(InvalidArgumentError, match="word_gain makes a new connector"):
            config(world, model=model)
