"""LoRA layers of a run in bfloat16 on a CPU: what peft computes, in fewer passes over the activations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear
from torch import Tensor, nn

from lusirag.model import LusiferModel
from lusirag_training.trainer.adapters import join_adapters
from lusirag_training.trainer.running import run_stage
from tests.conftest import tiny_model
from tests.training_world import alignment, contrastive, write_world
from tests.unit.training.test_float32_attention import PAIRS, gradients


def adapted(encoder: str = "bert", decoder: str = "llama", *, seed: int = 0, **options: Any) -> LusiferModel:
    """A tiny network whose adapters change what it says."""
    network = tiny_model(encoder, decoder)
    torch.manual_seed(seed)
    network.add_adapters(**{"rank": 4, "alpha": 6, "dropout": 0.0} | options)
    for name, parameter in network.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter, std=0.1)
        else:
            parameter.data += 0.01 * torch.randn_like(parameter)
    return network


@pytest.mark.parametrize(("encoder", "decoder"), PAIRS)
def test_every_backbone_gives_the_vectors_that_peft_gives_as_well_rounded(encoder: str, decoder: str) -> None:
    off: dict[str, list[float]] = {"peft": [], "ours": []}
    for seed in range(5):
        network = adapted(encoder, decoder, seed=seed)
        exact, coarse = (gradients(network, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
        assert join_adapters(network) == sum(name.endswith(".base_layer") for name, _ in network.named_modules()) > 0
        plain, ours = (gradients(network, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
        assert any(".lora_A." in name for name in exact)
        assert exact.keys() == ours.keys()
        assert all(torch.equal(plain[name], exact[name]) for name in exact)
        for who, found in (("peft", coarse), ("ours", ours)):
            off[who].append(float((found["vectors"] - exact["vectors"]).norm()))
    assert 0 < np.median(off["ours"]) < 1.4 * np.median(off["peft"])


@pytest.mark.parametrize("shape", [(7, 24), (3, 7, 24)])
def test_a_layer_gives_the_gradients_that_peft_gives_as_well_rounded(shape: tuple[int, ...]) -> None:
    off: dict[str, list[float]] = {"peft": [], "ours": []}
    for seed in range(10):
        torch.manual_seed(seed)
        settings = LoraConfig(r=4, lora_alpha=6, target_modules=["0"])
        layer: Any = inject_adapter_in_model(settings, nn.Sequential(nn.Linear(24, 16)), adapter_name="lusifer")[0]
        nn.init.normal_(layer.lora_B["lusifer"].weight, std=0.1)
        given, upstream = torch.randn(shape), torch.randn(*shape[:-1], 16)

        def passed(layer: Any, given: Tensor, upstream: Tensor, *, bfloat16: bool) -> Tensor:
            given = given.clone().requires_grad_()
            layer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                result = layer(given)
            assert result.shape == upstream.shape
            result.backward(upstream.to(result.dtype))
            learnt = [layer.lora_A["lusifer"].weight.grad, layer.lora_B["lusifer"].weight.grad]
            return torch.cat([part.double().flatten() for part in (result.detach(), given.grad, *learnt)])

        exact = passed(layer, given, upstream, bfloat16=False)
        coarse = passed(layer, given, upstream, bfloat16=True)
        assert join_adapters(nn.ModuleList([layer])) == 1
        ours = passed(layer, given, upstream, bfloat16=True)
        for who, found in (("peft", coarse), ("ours", ours)):
            off[who].append(float((found - exact).norm() / exact.norm()))
    assert 0 < np.mean(off["ours"]) < 1.1 * np.mean(off["peft"]) < 0.02


def test_under_autocast_peft_is_not_asked_and_else_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    network = adapted()
    asked: list[str] = []

    def spy(layer: Any, *given: Any, **options: Any) -> Any:
        asked.append("peft")
        return original(layer, *given, **options)

    original = Linear.forward
    monkeypatch.setattr(Linear, "forward", spy)
    count = join_adapters(network)
    gradients(network, dtype=torch.bfloat16)
    assert asked == []
    gradients(network, dtype=torch.float32)
    assert len(asked) == count
    network.multilingual_encoder.encoder.layer[0].attention.self.query.merge()
    gradients(network, dtype=torch.bfloat16)
    assert len(asked) == count + 1


def test_dropout_of_adapters_drops() -> None:
    network = adapted(dropout=0.5).train()
    join_adapters(network)
    first, second = (gradients(network, dtype=torch.bfloat16)["vectors"] for _ in range(2))
    assert not torch.equal(first, second)
    network.eval()
    first, second = (gradients(network, dtype=torch.bfloat16)["vectors"] for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(("precision", "expected"), [("bfloat16", True), ("float32", False)])
@pytest.mark.parametrize("stage", ["alignment", "contrastive"])
def test_a_run_on_a_cpu_in_bfloat16_computes_so(
    stage: str, precision: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def spy(layer: Any, *given: Any, **options: Any) -> Any:
        asked.append(torch.is_autocast_enabled("cpu"))
        return original(layer, *given, **options)

    original = Linear.forward
    monkeypatch.setattr(Linear, "forward", spy)
    world = write_world(tmp_path)
    make = alignment if stage == "alignment" else contrastive
    run_stage(make(world, optimization={"max_steps": 2, "precision": precision}, run={"output": str(tmp_path / "run")}))
    assert bool(asked) is not expected
    assert not any(asked)
