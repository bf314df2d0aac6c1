"""Directions that tell scripts apart: found, taken out of vectors, and written into a model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from typer.testing import CliRunner

from lusirag import Embedder
from lusirag.embedding.catalog import EMBEDDED_MODELS
from lusirag.errors import InvalidArgumentError, ModelError
from lusirag_training.commands import erase, export
from lusirag_training.erasure import (
    Matrix,
    embed_random_texts,
    erase_scripts,
    find_directions,
    script_pieces,
    share_between,
)
from tests.published import adapted_model, write_published

LETTERS = {"LATIN": "abcdefghijklmnopqrstu", "GREEK": "αβγδεζηθικλμνξοπρστυφ", "CYRILLIC": "абвгдежзийклмнопрстуф"}
WIDTH = 12


def two_letters(script: str) -> list[str]:
    return ["▁" + first + second for first in LETTERS[script] for second in LETTERS[script]][:350]


@pytest.fixture(scope="module")
def multilingual(tmp_path_factory: pytest.TempPathFactory, save_tiny_model: Callable[..., Path]) -> Path:
    """A tiny model with 350 pieces of each of three scripts."""
    from transformers import BertConfig

    from lusirag.model import LusiferConfig, LusiferModel
    from tests.conftest import DECODERS, ENCODER

    folder = tmp_path_factory.mktemp("multilingual")
    words = [
        "<s>",
        "<pad>",
        "</s>",
        "<unk>",
        "12",
        "a",
        "aβ",
        *(word for script in LETTERS for word in two_letters(script)),
    ]
    tokenizer = Tokenizer(models.Unigram([(word, 0.0) for word in words], unk_id=3))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tokenizer.add_special_tokens(words[:4])
    torch.manual_seed(1)
    config = LusiferConfig(
        encoder_config=BertConfig(**ENCODER | {"vocab_size": len(words)}),
        decoder_config=DECODERS["llama"](),
        templates={"query": "{text}", "document": "{text}"},
    )
    model = LusiferModel(config)
    table = model.multilingual_encoder.embeddings.word_embeddings.weight
    with torch.no_grad():  # the pieces of a script have something in common
        for number in range(len(LETTERS)):
            table[7 + 350 * number : 7 + 350 * (number + 1)] += 0.03 * torch.randn(table.shape[1])
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "README.md").write_text("a card")
    (folder / "model.onnx").write_bytes(b"an ONNX form of before")
    return folder


def cones(*, groups: int = 4, texts: int = 300, seed: int = 0) -> dict[str, Matrix]:
    """Groups that differ along the first axis, which varies together with the second, and by chance along others."""
    random = np.random.default_rng(seed)
    found = {}
    for number in range(groups):
        rows = random.standard_normal((texts, WIDTH))
        rows[:, 1] += 2 * rows[:, 0]
        rows[:, 0] += 3 * number
        found[str(number)] = rows
    return found


def taken_out(vectors: dict[str, Matrix], *, softness: float) -> dict[str, Matrix]:
    found = find_directions(vectors, softness=softness)
    return {name: each - each @ found.read @ found.write for name, each in vectors.items()}


def test_groups_have_one_mean_when_their_directions_are_taken_out_wholly() -> None:
    vectors = cones()
    means = np.stack([each.mean(axis=0) for each in taken_out(vectors, softness=0).values()])
    np.testing.assert_allclose(means, np.broadcast_to(means[0], means.shape), atol=1e-9)
    assert np.ptp([each[:, 0].mean() for each in vectors.values()]) > 8


def test_softness_says_what_is_left_of_the_strongest_direction() -> None:
    vectors = cones(groups=2)
    apart = vectors["1"].mean(axis=0) - vectors["0"].mean(axis=0)
    for softness in (0.25, 1, 3):
        after = taken_out(vectors, softness=softness)
        left = after["1"].mean(axis=0) - after["0"].mean(axis=0)
        np.testing.assert_allclose(left, apart * softness / (1 + softness), atol=1e-9)


def test_what_is_taken_out_carries_less_else_than_the_difference_of_means_does() -> None:
    vectors = cones(groups=2, texts=4000)
    within = np.concatenate([each - each.mean(axis=0) for each in vectors.values()])
    apart = vectors["1"].mean(axis=0) - vectors["0"].mean(axis=0)
    apart /= np.linalg.norm(apart)
    found = find_directions(vectors, softness=0)
    by_covariance, by_means = within - within @ found.read @ found.write, within - np.outer(within @ apart, apart)
    assert found.read.shape == (WIDTH, 1)
    assert not np.allclose(found.read[:, 0] / found.read[0, 0], apart / apart[0], atol=0.05)
    # Measured by how texts of a group differ, which is how a search tells them apart.
    inverse = np.linalg.inv(np.cov(within.T) + np.eye(WIDTH) * np.trace(np.cov(within.T)) / WIDTH)
    loss = [float(np.einsum("ij,jk,ik->", within - each, inverse, within - each)) for each in (by_covariance, by_means)]
    assert loss[0] < 0.9 * loss[1]


def test_pieces_are_sorted_by_script(multilingual: Path) -> None:
    tokenizer = Tokenizer.from_file(str(multilingual / "tokenizer.json"))
    pieces = script_pieces(tokenizer)
    assert {name: len(each) for name, each in pieces.items()} == {"CYRILLIC": 350, "GREEK": 350, "LATIN": 350}
    assert [tokenizer.decode([number]) for number in pieces["GREEK"][:2]] == ["αα", "αβ"]


def test_a_model_is_written_again_with_an_erasure(multilingual: Path, tmp_path: Path) -> None:
    out = tmp_path / "erased"
    erased = erase_scripts(multilingual, out, softness=0.1)
    assert erased.directions == 2
    assert erased.after < 0.5 * erased.before
    before, after = (load_file(folder / "model.safetensors") for folder in (multilingual, out))
    assert set(after) - set(before) == {"erasure.read", "erasure.write"}
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())
    assert sorted(file.name for file in out.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert json.loads((out / "config.json").read_text())["erased_directions"] == 2
    pieces = script_pieces(Tokenizer.from_file(str(out / "tokenizer.json")))
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    shares = []
    for folder in (multilingual, out):  # other random texts than those that it was found by
        with Embedder.load(folder, runtime="torch") as embedder:
            shares.append(share_between(embed_random_texts(embedder, tokenizer, pieces, texts=50, seed=9)))
    assert shares[1] < 0.5 * shares[0]


def test_the_same_seed_gives_the_same_bytes(multilingual: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        erase_scripts(multilingual, tmp_path / name, seed=seed)
    first, again, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert first == again != other


def test_a_new_erasure_takes_the_place_of_the_old_one(multilingual: Path, tmp_path: Path) -> None:
    for source, name, softness in ((multilingual, "once", 0.3), (multilingual, "first", 2), ("first", "again", 0.3)):
        erase_scripts(tmp_path / source, tmp_path / name, softness=softness)
    once, first, again = (load_file(tmp_path / name / "model.safetensors") for name in ("once", "first", "again"))
    taken = [each["erasure.read"].float() @ each["erasure.write"].float() for each in (once, first, again)]
    torch.testing.assert_close(taken[2], taken[0], atol=0.01, rtol=0)
    assert (taken[1] - taken[0]).abs().max() > 0.05


@pytest.mark.parametrize("shard", ["120KB", "5GB"])
def test_shards_are_read_and_an_erasure_survives_saving(multilingual: Path, tmp_path: Path, shard: str) -> None:
    from lusirag.model import LusiferModel

    source, out, again = (tmp_path / name for name in ("source", "out", "again"))
    LusiferModel.from_pretrained(multilingual).save_pretrained(source, max_shard_size=shard)
    shutil.copy(multilingual / "tokenizer.json", source)
    erase_scripts(source, out)
    model = LusiferModel.from_pretrained(out)
    model.save_pretrained(again)
    ids = torch.tensor([[0, 20, 400, 800, 2]])
    torch.testing.assert_close(LusiferModel.from_pretrained(again)(ids).embeddings, model(ids).embeddings)
    assert not torch.allclose(model(ids).embeddings, LusiferModel.from_pretrained(source)(ids).embeddings)


def test_what_cannot_be_done_is_said(multilingual: Path, tiny_directory: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"softness is -1; give 0 or more"):
        erase_scripts(multilingual, tmp_path / "out", softness=-1)
    with pytest.raises(InvalidArgumentError, match="nan"):
        erase_scripts(multilingual, tmp_path / "out", softness=float("nan"))
    with pytest.raises(InvalidArgumentError, match="is not an empty folder; choose another one"):
        erase_scripts(multilingual, multilingual)
    with pytest.raises(ModelError, match=r"300 pieces or more of no script alone; erasure is for multilingual models"):
        erase_scripts(tiny_directory, tmp_path / "out")
    wholly = tmp_path / "wholly"
    erase_scripts(multilingual, wholly, softness=0)
    with pytest.raises(ModelError, match="took its directions out wholly; give the model without it"):
        erase_scripts(wholly, tmp_path / "out")
    published = write_published(tmp_path / "published", adapted_model())
    with pytest.raises(ModelError, match=r"in the published form; first run `lusirag models export"):
        erase_scripts(published, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command(multilingual: Path, tmp_path: Path) -> None:
    app = typer.Typer()
    for command in (erase, export):
        command.register(app)
    arguments = ["erase", str(multilingual), "--out", str(tmp_path / "out"), "--softness", "0.1"]
    result = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "2 directions" in result.stdout
    assert "3, of 1,050 pieces" in result.stdout
    shutil.rmtree(tmp_path / "out")
    told = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert told["out"] == str(tmp_path / "out")
    assert told["after"] < 0.5 * told["before"]
    again = CliRunner().invoke(app, arguments)
    assert isinstance(again.exception, InvalidArgumentError)


def test_the_embedded_model_has_an_erasure_of_its_scripts() -> None:
    told = json.loads((EMBEDDED_MODELS["lusifer-mini"] / "config.json").read_text("utf-8"))
    weights = load_file(EMBEDDED_MODELS["lusifer-mini"] / "model.safetensors")
    assert told["erased_directions"] == 25
    assert weights["erasure.read"].shape == (384, 25)
    assert weights["erasure.write"].shape == (25, 384)
