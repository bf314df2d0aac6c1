"""A run in bfloat16 on a CPU attends in float32, in what it trains, to the same vectors and gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lusirag.model import LusiferModel
from lusirag_training.trainer import attention
from lusirag_training.trainer.attention import KERNEL, attend_in_float32
from lusirag_training.trainer.running import run_stage
from tests.conftest import DECODERS, ENCODERS, tiny_model
from tests.training_world import alignment, contrastive, write_world

IDS = torch.tensor([[5, 6, 7, 8, 9, 10], [11, 12, 13, 0, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])
PAIRS = [(encoder, "llama") for encoder in ENCODERS] + [("bert", decoder) for decoder in DECODERS if decoder != "llama"]


def gradients(network: LusiferModel, *, dtype: torch.dtype) -> dict[str, Tensor]:
    """Of a number that all vectors enter, by parameter, and the vectors."""
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        vectors = network(IDS, MASK).embeddings
    (vectors.float() * torch.linspace(-1, 1, vectors.numel()).reshape(vectors.shape)).sum().backward()
    return {"vectors": vectors.detach()} | {
        name: parameter.grad.clone() for name, parameter in network.named_parameters() if parameter.grad is not None
    }


@pytest.mark.parametrize(("encoder", "decoder"), PAIRS)
def test_every_backbone_gives_the_same_vectors_and_gradients(encoder: str, decoder: str) -> None:
    network = tiny_model(encoder, decoder)
    before = gradients(network, dtype=torch.float32)
    kernels = [
        network.multilingual_encoder.config._attn_implementation,
        network.language_model.config._attn_implementation,
    ]
    changed = attend_in_float32(network)
    names = ("multilingual_encoder", "language_model")
    assert changed == [name for name, kernel in zip(names, kernels, strict=True) if kernel == "sdpa"]
    after = gradients(network, dtype=torch.float32)
    assert before.keys() == after.keys()
    for name, gradient in before.items():
        torch.testing.assert_close(after[name], gradient, rtol=1e-5, atol=1e-6, msg=name)


def test_under_autocast_it_is_in_float32_and_rounds_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny_model()
    exact = gradients(network, dtype=torch.float32)
    coarse = gradients(network, dtype=torch.bfloat16)
    attend_in_float32(network)
    seen: list[tuple[torch.dtype, bool]] = []

    def spy(module: Any, query: Tensor, *parts: Any, **options: Any) -> Any:
        seen.append((query.dtype, torch.is_autocast_enabled("cpu")))
        return original(module, query, *parts, **options)

    original = attention.sdpa_attention_forward
    monkeypatch.setattr(attention, "sdpa_attention_forward", spy)
    ours = gradients(network, dtype=torch.bfloat16)
    assert seen == [(torch.float32, False)] * 4  # two layers each
    assert ours["vectors"].dtype == coarse["vectors"].dtype
    off, off_before = (sum(float((found[name] - exact[name]).norm()) for name in exact) for found in (ours, coarse))
    assert 0 < off < 1.1 * off_before  # what is left is the rounding of the layers around it


@pytest.mark.parametrize("trained", ["language_model", "connector"])
def test_an_encoder_that_no_gradient_reaches_keeps_its_kernel(trained: str) -> None:
    network = tiny_model().requires_grad_(False)
    getattr(network, trained).requires_grad_(True)
    assert attend_in_float32(network) == ["language_model"]
    assert network.multilingual_encoder.config._attn_implementation == "sdpa"
    assert network.language_model.config._attn_implementation == KERNEL


def test_gradients_on_their_way_to_the_encoder_reach_a_frozen_language_model() -> None:
    network = tiny_model().requires_grad_(False)
    network.multilingual_encoder.requires_grad_(True)
    assert attend_in_float32(network) == ["multilingual_encoder", "language_model"]


def test_a_network_whose_projection_alone_is_trained_keeps_its_kernels() -> None:
    network = tiny_model().requires_grad_(False)
    network.projection.requires_grad_(True)
    assert attend_in_float32(network) == []


@pytest.mark.parametrize(("precision", "expected"), [("bfloat16", True), ("float32", False)])
def test_a_run_on_a_cpu_does_so_in_bfloat16_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, expected: bool
) -> None:
    world = write_world(tmp_path / "world")
    calls: list[int] = []
    original = attention.sdpa_attention_forward
    monkeypatch.setattr(
        attention, "sdpa_attention_forward", lambda *parts, **options: calls.append(1) or original(*parts, **options)
    )
    for make in (alignment, contrastive):
        calls.clear()
        changes = {"run": {"output": str(tmp_path / make.__name__)}, "optimization": {"precision": precision}}
        run_stage(make(world, **changes))
        assert bool(calls) is expected, make.__name__
