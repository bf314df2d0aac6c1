"""Published checkpoints that this test writes itself: names, shards, strictness, base models beside or elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lusirag.embedding import Embedder
from lusirag.errors import ModelError
from lusirag.model import LusiferForAlignment, LusiferModel
from lusirag.model.adapters import name_in_files
from tests.conftest import tiny_model
from tests.published import adapted_model, write_published

IDS = torch.tensor([[0, 5, 6, 7, 2], [0, 9, 2, 1, 1]])
MASK = (IDS != 1).long()


@pytest.fixture(scope="module")
def model() -> LusiferModel:
    return adapted_model()


@pytest.fixture
def write(tmp_path: Path, model: LusiferModel) -> Callable[..., Path]:
    return partial(write_published, tmp_path / "published", model)


@torch.inference_mode()
@pytest.mark.parametrize("shards", [False, True])
@pytest.mark.parametrize("merge", [False, True])
def test_it_is_the_model_that_was_written(
    write: Callable[..., Path], model: LusiferModel, shards: bool, merge: bool
) -> None:
    loaded = LusiferModel.from_published(write(shards=shards), merge_adapters=merge)
    assert loaded.config.pooling == "weighted_mean"
    assert any("lora" in name for name, _ in loaded.named_parameters()) is not merge
    torch.testing.assert_close(loaded(IDS, MASK).embeddings, model(IDS, MASK).embeddings, atol=1e-5, rtol=0)


def test_published_positions_let_padding_move_an_embedding_as_the_published_code_does(
    write: Callable[..., Path], model: LusiferModel
) -> None:
    directory = write()
    ours, theirs = (LusiferModel.from_published(directory, published_positions=on) for on in (False, True))
    with torch.inference_mode():
        alone = model(IDS[1:, :3]).embeddings
        torch.testing.assert_close(ours(IDS, MASK).embeddings[1:], alone, atol=1e-5, rtol=0)
        assert (theirs(IDS, MASK).embeddings[1:] - alone).abs().max() > 1e-3
        torch.testing.assert_close(theirs(IDS[1:, :3]).embeddings, alone, atol=1e-5, rtol=0)


def test_missing_and_unknown_keys_are_listed(write: Callable[..., Path]) -> None:
    def change(state: dict[str, Tensor]) -> None:
        del state["connection_module.ff.2.bias"]
        del state["encoder.base_model.model.model.layers.1.mlp.up_proj.lora_B.encoder_lora.weight"]
        state["encoder.base_model.model.stranger.weight"] = torch.zeros(2)
        state["output_projection.0.weight"] = torch.zeros(3, 3)

    with pytest.raises(ModelError) as caught:
        LusiferModel.from_published(write(change))
    message = str(caught.value)
    assert "2 missing: connector.feed_forward.2.bias, language_model.layers.1.mlp.up_proj.lora_B.weight" in message
    assert "1 unknown: encoder.base_model.model.stranger.weight" in message
    assert "1 of another shape: projection.0.weight is (3, 3), not (48, 48)" in message


def test_a_missing_shard_is_named(write: Callable[..., Path]) -> None:
    directory = write(shards=True)
    shard = sorted(directory.glob("model-*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(ModelError, match=f"lacks {shard.name}"):
        LusiferModel.from_published(directory)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pooling_method": "max"}, "pooling_method is 'max', allowed: mean, weightedmean, cls, lasttoken"),
        ({"connection_type": "attn"}, "never written; use 'ff'"),
        ({"encoder_name_or_path": "nowhere"}, "no model at 'nowhere'"),
        ({"encoder_lora_name": None, "universal_learner_lora_name": None}, "holds 26 LoRA pairs"),
    ],
)
def test_hyperparameters_that_do_not_fit_are_refused(
    write: Callable[..., Path], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        LusiferModel.from_published(write(**changes), local_files_only=True)


def test_a_directory_of_our_own_is_not_a_published_one(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"lacks the published hyperparameters .*from_pretrained loads"):
        LusiferModel.from_published(tmp_path)


def test_every_loader_takes_a_published_directory(write: Callable[..., Path], model: LusiferModel) -> None:
    directory = write()
    loaded = LusiferModel.from_pretrained(directory)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(IDS, MASK).embeddings, model(IDS, MASK).embeddings, atol=1e-5, rtol=0)
    embedder = Embedder.load(directory, local_files_only=True)
    vectors = embedder.encode_documents(["abc", "a longer text"])
    assert vectors.shape == (2, 48)
    assert embedder.encode_documents(["abc"], instruction="find") @ vectors[0] < 0.9999


def test_a_published_checkpoint_is_saved_as_one_of_ours(write: Callable[..., Path], tmp_path: Path) -> None:
    loaded = LusiferModel.from_published(write(), merge_adapters=True)
    loaded.save_pretrained(tmp_path / "ours")
    again = LusiferModel.from_pretrained(tmp_path / "ours")
    assert load_file(tmp_path / "ours" / "model.safetensors").keys() == loaded.state_dict().keys()
    with torch.inference_mode():
        assert torch.equal(again(IDS, MASK).embeddings, loaded(IDS, MASK).embeddings)


def test_alignment_writes_with_the_words_of_the_checkpoint(write: Callable[..., Path]) -> None:
    model = LusiferForAlignment.from_published(write())
    assert torch.equal(model.vocabulary_head.weight, model.token_embedding.weight + 1)
    words = torch.tensor([[7, 8, 9], [7, 3, 0]])
    output = model(IDS, MASK, words, torch.tensor([[1, 1, 1], [1, 1, 0]]), torch.tensor([[7, 8, 9], [7, 3, -100]]))
    assert output.logits.shape == (2, 5 + 2 + 3, 64)
    assert 2.0 < output.loss.item() < 60.0


def test_a_checkpoint_without_base_weights_takes_them_from_the_base_models(
    write: Callable[..., Path], model: LusiferModel
) -> None:
    def change(state: dict[str, Tensor]) -> None:
        for key in [key for key in state if key.startswith(("universal_learner.", "encoder.")) and ".lora_" not in key]:
            del state[key]

    directory = write(change)
    for part, folder in (("multilingual_encoder", "encoder"), ("language_model", "decoder")):
        base = {name_in_files(name): tensor for name, tensor in getattr(model, part).state_dict().items()}
        plain = {name: tensor.contiguous() for name, tensor in base.items() if ".lora_" not in name}
        if part == "language_model":
            plain["embed_tokens.weight"] = torch.zeros(64, 48)
        save_file(plain, directory / folder / "model.safetensors", metadata={"format": "pt"})
    for merge in (False, True):
        loaded = LusiferModel.from_published(directory, merge_adapters=merge)
        with torch.inference_mode():
            torch.testing.assert_close(loaded(IDS, MASK).embeddings, model(IDS, MASK).embeddings, atol=1e-5, rtol=0)
