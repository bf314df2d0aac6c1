"""Saving and loading: round trips, 4-bit blocks, LoRA, and every way a directory can be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import torch
from huggingface_hub.errors import GatedRepoError
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from lusirag.errors import InvalidArgumentError, ModelError
from lusirag.model import LusiferModel
from lusirag.model.storage import pack_nibbles, quantize_matrix, restore_blocks, restore_matrix

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


def test_8_bits_of_a_narrow_matrix_share_a_scale_a_row() -> None:
    weight = torch.randn(6, 16, generator=torch.Generator().manual_seed(5))
    stored = quantize_matrix("a", weight, bits=8)
    assert stored["a.scale"].shape == (6, 1)
    torch.testing.assert_close(restore_blocks(stored)["a"], weight, rtol=0, atol=float(weight.abs().max()) / 250)


@pytest.mark.parametrize("scale", [(32, 2), (16, 1), (32,)], ids=str)
def test_blocks_with_a_scale_of_another_shape_are_refused(directory: Path, scale: tuple[int, ...]) -> None:
    name = "multilingual_encoder.encoder.layer.0.attention.self.query.weight"

    def to_blocks(state: dict[str, torch.Tensor]) -> None:
        blocks = quantize_matrix(name, state.pop(name), bits=8)
        state.update(blocks | {f"{name}.scale": torch.ones(scale).half()})

    change_weights(directory, to_blocks)
    with pytest.raises(ModelError, match="do not belong together"):
        LusiferModel.from_pretrained(directory)


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
    model = LusiferModel.from_pretrained(directory, merge_adapters=True)
    torch.testing.assert_close(model.language_model.layers[0].mlp.up_proj.weight, expected)
    assert model.config.lora is None


def test_half_a_lora_pair_is_refused(directory: Path) -> None:
    name = "language_model.layers.0.mlp.up_proj"
    change_weights(directory, lambda state: state.update({f"{name}.lora_A.weight": torch.randn(4, 48)}))
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"lora": {"rank": 4, "alpha": 8}}))
    for merge in (True, False):
        with pytest.raises(ModelError, match=rf"1 missing: {name}\.lora_B\.weight"):
            LusiferModel.from_pretrained(directory, merge_adapters=merge)


def test_lora_without_its_settings_is_refused(directory: Path) -> None:
    name = "language_model.layers.0.mlp.up_proj"
    pair = {f"{name}.lora_A.weight": torch.randn(4, 48), f"{name}.lora_B.weight": torch.randn(96, 4)}
    change_weights(directory, lambda state: state.update(pair))
    with pytest.raises(ModelError, match=r"holds 1 LoRA pairs, but its config\.json has lora = None"):
        LusiferModel.from_pretrained(directory)


@pytest.mark.parametrize(("bits", "cosine"), [(8, 0.9999), (4, 0.98)])
def test_weights_are_stored_in_blocks_and_restored_close(
    directory: Path, tmp_path: Path, bits: int, cosine: float
) -> None:
    model = LusiferModel.from_pretrained(directory)
    model.save_pretrained(tmp_path / "small", bits=bits, max_shard_size="40KB")
    stored = {key for file in (tmp_path / "small").glob("*.safetensors") for key in load_file(file)}
    assert "multilingual_encoder.encoder.layer.0.intermediate.dense.weight.blocks" in stored
    assert "connector.feed_forward.0.weight" in stored  # what was trained on top is not rounded
    loaded = LusiferModel.from_pretrained(tmp_path / "small")
    similarity = torch.cosine_similarity(loaded(IDS).embeddings, model(IDS).embeddings)
    assert cosine < similarity.item() < 1.0


def test_rounded_blocks_are_rounded_once(directory: Path, tmp_path: Path) -> None:
    LusiferModel.from_pretrained(directory).save_pretrained(tmp_path / "first", bits=8)
    first = LusiferModel.from_pretrained(tmp_path / "first")
    first.save_pretrained(tmp_path / "second", bits=8)
    assert_same_weights(LusiferModel.from_pretrained(tmp_path / "second"), first)


def test_other_bits_are_refused(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="bits is 5; allowed: 4, 8"):
        LusiferModel.from_pretrained(directory).save_pretrained(tmp_path / "five", bits=5)
    assert not (tmp_path / "five").exists()


def test_saving_over_shards_leaves_no_old_file(directory: Path, tmp_path: Path) -> None:
    model = LusiferModel.from_pretrained(directory)
    model.save_pretrained(tmp_path / "twice", max_shard_size="40KB")
    model.save_pretrained(tmp_path / "twice")
    assert sorted(file.name for file in (tmp_path / "twice").iterdir()) == ["config.json", "model.safetensors"]
    assert_same_weights(LusiferModel.from_pretrained(tmp_path / "twice"), model)


def test_transformers_finds_the_model_by_its_type(directory: Path) -> None:
    model = AutoModel.from_pretrained(directory)
    assert isinstance(model, LusiferModel)


def test_a_gated_model_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        response = httpx.Response(403, request=httpx.Request("GET", "https://hub.invalid"))
        raise GatedRepoError("gated", response=response)

    monkeypatch.setattr("lusirag.model.source.snapshot_download", refuse)
    with pytest.raises(ModelError, match=r"accepted its licence: accept it .* `hf auth login`"):
        LusiferModel.from_pretrained("owner/gated")
