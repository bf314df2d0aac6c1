"""Assembling writes a directory that `LusiferModel` loads strictly and that holds exactly what its sources hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_sources import around_zero, tokenizer_json, with_minimum
from torch import Tensor
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM

from lusirag.model import LusiferModel
from lusirag_training.assemble import assemble, verify, with_encoder_share

FULL = tokenizer_json()
PIECES = len(FULL["model"]["vocab"])
SIZES = {"num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 64, "num_hidden_layers": 2}
WIDTH, DECODER_WIDTH, RANK = 32, 64, 4


def as_blocks(state: dict[str, Tensor], draw: object) -> dict[str, Tensor]:
    """Replace each matrix whose columns allow it by what a 4-bit reader returns; the rest becomes float16-exact."""
    return {
        name: draw(at, weight.shape[0], weight.shape[1] // 32)  # type: ignore[operator]
        if weight.dim() == 2 and weight.shape[1] % 32 == 0
        else weight.half().float()
        for at, (name, weight) in enumerate(state.items())
    }


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny encoder (one row more than its tokenizer has pieces, as in the wild), decoder, and trained parts."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("sources")
    encoder = BertModel(
        BertConfig(vocab_size=PIECES + 1, hidden_size=WIDTH, pad_token_id=1, **SIZES), add_pooling_layer=False
    )
    encoder.load_state_dict(as_blocks(encoder.state_dict(), around_zero))
    encoder.save_pretrained(folder / "encoder")
    (folder / "encoder" / "tokenizer.json").write_text(json.dumps(FULL), encoding="utf-8")
    decoder = LlamaForCausalLM(LlamaConfig(vocab_size=32, hidden_size=DECODER_WIDTH, num_key_value_heads=1, **SIZES))
    decoder.load_state_dict(as_blocks(decoder.state_dict(), with_minimum))
    decoder.save_pretrained(folder / "decoder")
    query = "language_model.layers.0.self_attn.q_proj"
    shapes = {
        "connector.added_tokens": (1, DECODER_WIDTH),
        "connector.feed_forward.0.weight": (WIDTH, WIDTH),
        "connector.feed_forward.0.bias": (WIDTH,),
        "connector.feed_forward.2.weight": (DECODER_WIDTH, WIDTH),
        "connector.feed_forward.2.bias": (DECODER_WIDTH,),
        f"{query}.lora_A.weight": (RANK, DECODER_WIDTH),
        f"{query}.lora_B.weight": (DECODER_WIDTH, RANK),
        "projection.weight": (WIDTH, DECODER_WIDTH),
        "projection.bias": (WIDTH,),
    }
    save_file({name: torch.randn(shape).half() for name, shape in shapes.items()}, folder / "trained.safetensors")
    return {part: folder / part for part in ("encoder", "decoder")} | {"trained": folder / "trained.safetensors"}


@pytest.fixture(scope="module")
def assembled(sources: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("assembled") / "mini"
    assemble(**sources, out=out, vocabulary_size=60, layers=1, lora_alpha=8, code_columns=None)
    return out


def test_the_model_loads_and_holds_the_base_weights(assembled: Path, sources: dict[str, Path]) -> None:
    model = LusiferModel.from_pretrained(assembled, merge_adapters=True)
    encoder = load_file(sources["encoder"] / "model.safetensors")
    pieces = [piece for piece, _ in FULL["model"]["vocab"]]
    kept = json.loads((assembled / "tokenizer.json").read_text())["model"]["vocab"]
    rows = [pieces.index(piece) for piece, _ in kept]
    words = model.multilingual_encoder.embeddings.word_embeddings.weight
    assert torch.equal(words, encoder["embeddings.word_embeddings.weight"][torch.tensor(rows)])
    decoder = load_file(sources["decoder"] / "model.safetensors")
    layer = model.language_model.layers[0]
    assert torch.equal(layer.mlp.up_proj.weight, decoder["model.layers.0.mlp.up_proj.weight"])
    trained = load_file(sources["trained"])
    query = "language_model.layers.0.self_attn.q_proj"
    update = trained[f"{query}.lora_B.weight"].float() @ trained[f"{query}.lora_A.weight"].float() * (8 / RANK)
    expected = decoder["model.layers.0.self_attn.q_proj.weight"] + update
    found = layer.self_attn.q_proj.weight.detach()
    torch.testing.assert_close(found, expected, rtol=0, atol=0.15)  # each factor is rounded in steps of about 0.02
    assert float((found - expected).norm() / update.norm()) < 0.01


def test_trained_matrices_take_8_bits_or_keep_float16(
    assembled: Path, sources: dict[str, Path], tmp_path: Path
) -> None:
    settings = {"vocabulary_size": 60, "layers": 1, "lora_alpha": 8, "code_columns": None}
    assemble(**sources, out=tmp_path, trained_bits=16, **settings)
    trained = load_file(sources["trained"])
    exact, rounded = (load_file(folder / "model.safetensors") for folder in (tmp_path, assembled))
    for name, part in trained.items():
        assert torch.equal(exact[name], part)
        if part.dim() == 2 and name.endswith(".weight"):
            assert rounded[f"{name}.blocks"].dtype == torch.int8
            assert rounded[f"{name}.scale"].shape == (len(part), max(1, part.shape[1] // 32))
        else:
            assert torch.equal(rounded[name], part)
    with pytest.raises(ValueError, match="allowed are 8 and 16"):
        assemble(**sources, out=tmp_path / "never", trained_bits=4, **settings)
    assert not (tmp_path / "never").exists()


def test_frozen_matrices_are_blocks_and_nothing_superfluous_is_stored(assembled: Path) -> None:
    stored = load_file(assembled / "model.safetensors")
    assert "multilingual_encoder.embeddings.word_embeddings.weight.blocks" in stored
    assert "language_model.layers.0.self_attn.k_proj.weight.minimum" in stored
    assert "language_model.norm.weight" in stored
    assert not any(
        "embed_tokens" in name or "lm_head" in name or "layers.1." in name for name in stored if "language" in name
    )
    assert not any(tensor.dtype == torch.float32 for tensor in stored.values())


def test_config_says_what_was_assembled(assembled: Path, sources: dict[str, Path]) -> None:
    config = json.loads((assembled / "config.json").read_text(encoding="utf-8"))
    assert (config["model_type"], config["architectures"]) == ("lusifer", ["LusiferModel"])
    assert config["encoder_config"]["vocab_size"] == 60
    assert config["decoder_config"]["num_hidden_layers"] == 1
    assert config["decoder_config"]["is_causal"] is False
    assert config["lora"] == {"rank": RANK, "alpha": 8}
    assert config["encoder_skip"] is True
    assert str(sources["encoder"].parent) not in json.dumps(config)
    assert "MIT" in (assembled / "README.md").read_text(encoding="utf-8")


def test_the_same_sources_give_the_same_bytes(assembled: Path, sources: dict[str, Path], tmp_path: Path) -> None:
    assemble(**sources, out=tmp_path, vocabulary_size=60, layers=1, lora_alpha=8, code_columns=None)
    files = sorted(file.name for file in assembled.iterdir())
    assert sorted(file.name for file in tmp_path.iterdir()) == files
    for name in files:
        assert (tmp_path / name).read_bytes() == (assembled / name).read_bytes(), name


def test_verify_sees_one_changed_bit_and_missing_tensors(tmp_path: Path) -> None:
    weight = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    save_file({"a": weight}, tmp_path / "weights")
    verify(tmp_path / "weights", {"a": weight}, {})
    changed = weight.clone()
    changed[0, 0] = torch.nextafter(changed[0, 0], torch.tensor(9.0))
    with pytest.raises(ValueError, match="1 tensors"):
        verify(tmp_path / "weights", {"a": changed}, {})
    with pytest.raises(ValueError, match="b"):
        verify(tmp_path / "weights", {"a": weight}, {"b": weight})
    with pytest.raises(ValueError, match="a"):
        verify(tmp_path / "weights", {}, {})


def test_lora_of_two_ranks_is_refused(sources: dict[str, Path], tmp_path: Path) -> None:
    parts = load_file(sources["trained"]) | {
        "language_model.layers.0.mlp.up_proj.lora_A.weight": torch.zeros(2, DECODER_WIDTH)
    }
    save_file(parts, tmp_path / "trained.safetensors")
    with pytest.raises(ValueError, match="one rank is needed"):
        assemble(
            **sources | {"trained": tmp_path / "trained.safetensors"},
            out=tmp_path / "out",
            vocabulary_size=60,
            layers=1,
            code_columns=None,
        )


def test_an_encoder_goes_part_of_the_way(sources: dict[str, Path], tmp_path: Path) -> None:
    query = "multilingual_encoder.encoder.layer.1.attention.self.query"
    lora = {
        f"{query}.lora_A.weight": torch.randn(RANK, WIDTH).half(),
        f"{query}.lora_B.weight": torch.randn(WIDTH, RANK).half(),
    }
    save_file(load_file(sources["trained"]) | lora, tmp_path / "trained.safetensors")
    weights = {}
    for share in (0.0, 0.5, 1.0):
        out = tmp_path / str(share)
        settings = {"vocabulary_size": 60, "layers": 1, "lora_alpha": 8, "code_columns": None, "encoder_share": share}
        assemble(**sources | {"trained": tmp_path / "trained.safetensors"}, out=out, **settings)
        weights[share] = LusiferModel.from_pretrained(out, merge_adapters=True).get_parameter(f"{query}.weight")
    base = load_file(sources["encoder"] / "model.safetensors")["encoder.layer.1.attention.self.query.weight"]
    torch.testing.assert_close(weights[0.0], base, rtol=0, atol=1e-6)
    torch.testing.assert_close(weights[0.5], (weights[0.0] + weights[1.0]) / 2, rtol=0, atol=2e-3)
    assert float((weights[1.0] - base).detach().abs().mean()) > 0.1


def test_a_share_that_cannot_be_is_refused() -> None:
    parts = {"multilingual_encoder.x.lora_B.weight": torch.ones(2, 2)}
    with pytest.raises(ValueError, match="allowed is 0 to 1"):
        with_encoder_share(parts, 1.5)
    with pytest.raises(ValueError, match="not trained by LoRA"):
        with_encoder_share({"projection.weight": torch.ones(2, 2)}, 0.5)
