"""LoRA by peft: attached, merged, stored with the model or alone beside references to the base models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import BertModel, LlamaForCausalLM

from lusirag.errors import ModelError
from lusirag.model import LusiferModel
from tests.conftest import DECODERS, ENCODERS, tiny_model, tiny_tokenizer

IDS = torch.tensor([[0, 5, 6, 7, 2], [0, 9, 2, 1, 1]])
MASK = (IDS != 1).long()


def embed(model: LusiferModel) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(IDS, MASK).embeddings


def with_random_adapters(model: LusiferModel) -> LusiferModel:
    model.add_adapters(rank=4, alpha=8, dropout=0.0)
    torch.manual_seed(2)
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


def largest_difference(first: torch.Tensor, second: torch.Tensor) -> float:
    return (first - second).abs().max().item()


def test_new_adapters_change_nothing_and_are_all_that_trains() -> None:
    model = tiny_model()
    before = embed(model)
    model.add_adapters()
    assert largest_difference(embed(model), before) == 0
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert all(".lora_" in name or name.startswith(("connector.", "projection.")) for name in trained)
    assert all(name.startswith(("multilingual_encoder.", "language_model.")) for name in frozen)
    linear_layers = 2 * 6 + 2 * 7  # of BERT's and Llama's two layers each
    assert sum(".lora_A." in name for name in trained) == linear_layers


def test_merging_keeps_the_embeddings_and_removes_the_adapters() -> None:
    model = with_random_adapters(tiny_model())
    plain, adapted = embed(tiny_model()), embed(model)
    assert largest_difference(adapted, plain) > 1e-2
    model.merge_adapters()
    assert largest_difference(embed(model), adapted) < 1e-5
    assert not any("lora" in name or "base_layer" in name for name, _ in model.named_parameters())
    assert model.config.lora is None


def test_second_adapters_are_refused() -> None:
    model = with_random_adapters(tiny_model())
    with pytest.raises(ModelError, match=r"has LoRA adapters already; merge_adapters\(\)"):
        model.add_adapters()


@pytest.mark.parametrize("merge", [False, True])
def test_adapters_are_saved_with_the_model(tmp_path: Path, merge: bool) -> None:
    model = with_random_adapters(tiny_model())
    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert "language_model.layers.1.mlp.up_proj.lora_B.weight" in file.keys()  # noqa: SIM118
    loaded = LusiferModel.from_pretrained(tmp_path, merge_adapters=merge)
    assert any(".lora_A." in name for name, _ in loaded.named_parameters()) is not merge
    assert (loaded.config.lora is None) is merge
    assert largest_difference(embed(loaded), embed(model)) < 1e-5


@pytest.fixture
def base_models(tmp_path: Path) -> tuple[Path, Path]:
    torch.manual_seed(4)
    encoder, decoder = tmp_path / "encoder", tmp_path / "decoder"
    BertModel(ENCODERS["bert"]()).save_pretrained(encoder)  # with a pooling head, as published ones have
    LlamaForCausalLM(DECODERS["llama"]()).save_pretrained(decoder)
    tiny_tokenizer().save(str(encoder / "tokenizer.json"))
    return encoder, decoder


def test_base_models_are_joined(base_models: tuple[Path, Path]) -> None:
    model = LusiferModel.from_base_models(*base_models, decoder_layers=1, added_tokens=2)
    encoder, decoder = (BertModel.from_pretrained(base_models[0]), LlamaForCausalLM.from_pretrained(base_models[1]))
    assert len(model.language_model.layers) == 1
    torch.testing.assert_close(
        model.multilingual_encoder.embeddings.word_embeddings.weight, encoder.embeddings.word_embeddings.weight
    )
    torch.testing.assert_close(
        model.language_model.layers[0].mlp.up_proj.weight, decoder.model.layers[0].mlp.up_proj.weight
    )


def test_what_was_trained_is_stored_alone(base_models: tuple[Path, Path], tmp_path: Path) -> None:
    model = with_random_adapters(LusiferModel.from_base_models(*base_models))
    model.save_adapters(tmp_path / "trained")
    with safe_open(tmp_path / "trained" / "model.safetensors", framework="pt") as file:
        keys = set(file.keys())
    assert keys
    assert all(".lora_" in key or key.startswith(("connector.", "projection.")) for key in keys)
    for merge in (False, True):
        loaded = LusiferModel.from_pretrained(tmp_path / "trained", merge_adapters=merge)
        assert largest_difference(embed(loaded), embed(model)) < 1e-5


def test_an_incomplete_adapter_checkpoint_is_refused(base_models: tuple[Path, Path], tmp_path: Path) -> None:
    model = LusiferModel.from_base_models(*base_models)
    model.save_adapters(tmp_path / "trained")
    (base_models[1] / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"decoder cannot be loaded"):
        LusiferModel.from_pretrained(tmp_path / "trained")


def test_a_model_without_base_models_cannot_be_stored_as_adapters(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"save_pretrained\(\) writes it whole"):
        tiny_model().save_adapters(tmp_path)
    assert list(tmp_path.iterdir()) == []
