"""Saving and loading: round trips, 4-bit blocks, LoRA, and every way a directory can be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lusirag.errors import ModelError
from lusirag.model import LusiferModel
from lusirag.model.loading import merge_lora
from lusirag.model.storage import pack_nibbles, restore_blocks, restore_matrix

IDS = torch.tensor([[0, 5, 6, 7, 2]])


@pytest.fixture
def directory(tmp_path: Path, save_tiny_model: Callable[..., Path]) -> Path:
    return save_tiny_model(tmp_path / "model", added_tokens=2)


def change_weights(directory: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    state = load_file(directory / "model.safetensors")
    change(state)
    save_file(state, directory / "model.safetensors", metadata={"format": "pt"})


def assert_same_weights(first: LusiferModel, second: LusiferModel) -> None:
    expected = second.state_dict()
    assert first.state_dict().keys() == expected.keys()
    assert [name for name, value in first.state_dict().items() if not torch.equal(value, expected[name])] == []


def test_save_and_load_give_the_same_embeddings(directory: Path, tmp_path: Path) -> None:
    first = LusiferModel.from_pretrained(directory)
    first.save_pretrained(tmp_path / "again")
    second = LusiferModel.from_pretrained(tmp_path / "again")
    assert not first.training
    assert_same_weights(first, second)
    torch.testing.assert_close(first(IDS).embeddings, second(IDS).embeddings, atol=1e-6, rtol=0)


def test_shards_load_like_one_file(directory: Path, tmp_path: Path) -> None:
    model = LusiferModel.from_pretrained(directory)
    model.save_pretrained(tmp_path / "shards", max_shard_size="40KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    assert_same_weights(LusiferModel.from_pretrained(tmp_path / "shards"), model)


def test_dtype_is_the_one_asked_for(directory: Path) -> None:
    model = LusiferModel.from_pretrained(directory, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_missing_and_unknown_weights_are_listed(directory: Path) -> None:
    def change(state: dict[str, torch.Tensor]) -> None:
        del state["connector.feed_forward.0.weight"]
        state["connector.stranger"] = torch.zeros(1)

    change_weights(directory, change)
    with pytest.raises(ModelError) as caught:
        LusiferModel.from_pretrained(directory)
    assert "1 missing: connector.feed_forward.0.weight" in str(caught.value)
    assert "1 unknown: connector.stranger" in str(caught.value)


def test_truncated_weights_are_an_error_in_words(directory: Path) -> None:
    weights = directory / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"model\.safetensors cannot be read"):
        LusiferModel.from_pretrained(directory)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'), "model of type 'bert'"),
        (lambda folder: (folder / "model.safetensors").unlink(), "lacks model.safetensors"),
    ],
)
def test_wrong_directories_are_refused_in_words(
    directory: Path, change: Callable[[Path], object], message: str
) -> None:
    change(directory)
    with pytest.raises(ModelError, match=message):
        LusiferModel.from_pretrained(directory)


@pytest.mark.parametrize("name", ["no-such-model", "./nowhere", "owner/not-cached"])
def test_a_model_that_is_nowhere_is_an_error_in_words(name: str) -> None:
    with pytest.raises(ModelError, match=name):
        LusiferModel.from_pretrained(name, local_files_only=True)


def test_blocks_restore_the_values_they_were_packed_from() -> None:
    generator = torch.Generator().manual_seed(3)
    nibbles = torch.randint(0, 16, (5, 4, 32), generator=generator, dtype=torch.uint8)
    scale = torch.randn(5, 4, generator=generator).half()
    minimum = torch.randn(5, 4, generator=generator).half()
    centred = (nibbles.float() - 8) * scale.float()[:, :, None]
    shifted = nibbles.float() * scale.float()[:, :, None] + minimum.float()[:, :, None]
    assert torch.equal(restore_matrix(pack_nibbles(nibbles), scale), centred.view(5, 128))
    assert torch.equal(restore_matrix(pack_nibbles(nibbles), scale, minimum), shifted.view(5, 128))


def test_a_model_stored_in_blocks_loads_as_if_stored_plainly(directory: Path) -> None:
    name = "multilingual_encoder.encoder.layer.0.attention.self.query.weight"
    nibbles = torch.randint(0, 16, (32, 1, 32), dtype=torch.uint8)
    scale = torch.full((32, 1), 0.01).half()
    values = restore_matrix(pack_nibbles(nibbles), scale)

    change_weights(directory, lambda state: state.update({name: values}))
    plain = LusiferModel.from_pretrained(directory)

    def to_blocks(state: dict[str, torch.Tensor]) -> None:
        del state[name]
        state.update({f"{name}.blocks": pack_nibbles(nibbles), f"{name}.scale": scale})

    change_weights(directory, to_blocks)
    assert_same_weights(LusiferModel.from_pretrained(directory), plain)


def test_restore_blocks_leaves_other_tensors_alone() -> None:
    other = {"norm.weight": torch.ones(3), "gate.scale": torch.ones(2)}
    assert restore_blocks(other) == other


def test_lora_is_merged_with_its_scaling(directory: Path) -> None:
    name = "language_model.layers.0.mlp.up_proj"
    lora_a, lora_b = torch.randn(4, 48), torch.randn(96, 4)
    expected = load_file(directory / "model.safetensors")[f"{name}.weight"] + 2.0 * lora_b @ lora_a
    change_weights(
        directory, lambda state: state.update({f"{name}.lora_A.weight": lora_a, f"{name}.lora_B.weight": lora_b})
    )
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"lora": {"rank": 4, "alpha": 8}}))
    model = LusiferModel.from_pretrained(directory)
    torch.testing.assert_close(model.language_model.layers[0].mlp.up_proj.weight, expected)
    assert model.config.lora is None


def test_half_a_lora_pair_is_refused() -> None:
    with pytest.raises(ModelError, match=r"lora_B\.weight"):
        merge_lora({"a.lora_A.weight": torch.ones(1, 2), "a.weight": torch.ones(2, 2)}, scaling=1.0)
