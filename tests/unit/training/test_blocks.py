"""4-bit blocks are recovered from float32 bit for bit, or not used at all."""

from __future__ import annotations

import pytest
import torch
from tiny_sources import around_zero, with_minimum
from torch import Tensor

from lusirag.model.storage import restore_blocks
from lusirag_training.blocks import same_bits, stored_exactly


def restored(weight: Tensor) -> tuple[set[str], Tensor]:
    stored = stored_exactly("w", weight)
    return set(stored), restore_blocks(stored)["w"].float()


@pytest.mark.parametrize("seed", range(5))
def test_blocks_around_zero_come_back_bit_for_bit(seed: int) -> None:
    weight = around_zero(seed)
    names, back = restored(weight)
    assert names == {"w.blocks", "w.scale"}
    assert same_bits(back, weight)


@pytest.mark.parametrize("seed", range(5))
def test_blocks_with_a_minimum_come_back_bit_for_bit(seed: int) -> None:
    weight = with_minimum(seed)
    names, back = restored(weight)
    assert names == {"w.blocks", "w.scale", "w.minimum"}
    assert same_bits(back, weight)


def test_blocks_of_zeros_keep_their_signs() -> None:
    weight = around_zero(0)
    weight[3, :32] = 0.0
    weight[4, 32:64] = -0.0
    weight[5, :32:2], weight[5, 1:32:2] = 0.0, -0.0
    names, back = restored(weight)
    assert names == {"w.blocks", "w.scale"}
    assert same_bits(back, weight)


def test_a_constant_block_needs_no_scale() -> None:
    weight = with_minimum(1)
    weight[2, :32] = 0.25
    names, back = restored(weight)
    assert names == {"w.blocks", "w.scale", "w.minimum"}
    assert same_bits(back, weight)


def test_what_is_no_block_is_kept_at_the_smallest_exact_precision() -> None:
    draw = torch.Generator().manual_seed(2)
    halves = torch.randn(8, 64, generator=draw).half().float()
    floats = torch.randn(8, 64, generator=draw)
    assert stored_exactly("w", halves)["w"].dtype == torch.float16
    assert stored_exactly("w", floats)["w"].dtype == torch.float32
    assert stored_exactly("w", torch.tensor([1e-12, 0.1]))["w"].dtype == torch.float32


def test_one_altered_value_leaves_the_blocks() -> None:
    weight = around_zero(3)
    weight[1, 5] = torch.nextafter(weight[1, 5], torch.tensor(1.0))
    names, back = restored(weight)
    assert names == {"w"}
    assert same_bits(back, weight)


def test_other_types_are_refused() -> None:
    with pytest.raises(ValueError, match="float32 was expected"):
        stored_exactly("w", torch.zeros(2, 32, dtype=torch.float64))


def test_same_bits_sees_the_sign_of_zero() -> None:
    assert not same_bits(torch.tensor([0.0]), torch.tensor([-0.0]))
    assert not same_bits(torch.zeros(2), torch.zeros(3))
