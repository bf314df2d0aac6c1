"""Gradient caching gives the gradient of the whole batch, dropout and autocast included."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from lusirag.errors import InvalidArgumentError, ModelError
from lusirag_training.gradient_cache import cached_backward, chunk_slices
from lusirag_training.losses import Candidates, ContrastiveLoss

ROWS = 12


def network(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 6))


def texts() -> Tensor:
    return torch.randn(ROWS, 5, generator=torch.Generator().manual_seed(1))


def loss(vectors: Tensor) -> Tensor:
    return ContrastiveLoss(temperature=0.1)(
        Candidates(
            queries=vectors[:4],
            documents=vectors[4:],
            owner=torch.tensor([0, 1, 2, 3, 0, 0, 2, 3]),
            is_positive=torch.arange(8) < 4,
        )
    )


def gradient(model: nn.Module) -> Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])


def relative(ours: Tensor, expected: Tensor) -> float:
    return float((ours - expected).norm() / expected.norm())


@pytest.mark.parametrize("size", [1, 2, 5, 11, 12, 40])
def test_any_chunk_size_gives_the_gradient_of_the_whole_batch(size: int) -> None:
    whole, cached = network(), network()
    expected = loss(whole(texts()))
    expected.backward()
    value = cached_backward(lambda rows: cached(texts()[rows]), chunk_slices(ROWS, size=size), loss)
    torch.testing.assert_close(value, expected.detach(), rtol=1e-6, atol=0)
    assert not value.requires_grad
    assert relative(gradient(cached), gradient(whole)) < 1e-5


@pytest.mark.parametrize("size", [1, 5, 12])
def test_dropout_is_the_same_in_both_passes(size: int) -> None:
    """The expected gradient: the same chunks with the same draws, all graphs kept, one backward pass."""
    whole, cached = network(dropout=0.5), network(dropout=0.5)
    chunks = chunk_slices(ROWS, size=size)
    torch.manual_seed(8)
    expected = loss(torch.cat([whole(texts()[rows]) for rows in chunks]))
    after = torch.get_rng_state()
    expected.backward()
    torch.manual_seed(8)
    value = cached_backward(lambda rows: cached(texts()[rows]), chunks, loss, check_replay=True)
    torch.testing.assert_close(value, expected.detach(), rtol=1e-6, atol=0)
    assert relative(gradient(cached), gradient(whole)) < 1e-5
    # The next step draws new numbers: the stream has moved on, once.
    assert torch.equal(torch.get_rng_state(), after)


def test_random_numbers_of_the_loss_are_not_drawn_again() -> None:
    model = network(dropout=0.5)

    def noisy(vectors: Tensor) -> Tensor:
        return loss(vectors + torch.rand_like(vectors))

    torch.manual_seed(8)
    for rows in chunk_slices(ROWS, size=5):
        model(texts()[rows])
    torch.rand(ROWS, 6)
    after = torch.get_rng_state()
    torch.manual_seed(8)
    cached_backward(lambda rows: model(texts()[rows]), chunk_slices(ROWS, size=5), noisy)
    assert torch.equal(torch.get_rng_state(), after)


def test_gradients_are_added_to_those_that_are_there() -> None:
    model = network()
    rows = chunk_slices(ROWS, size=5)
    cached_backward(lambda chunk: model(texts()[chunk]), rows, loss)
    once = gradient(model).clone()
    cached_backward(lambda chunk: model(texts()[chunk]), rows, loss)
    torch.testing.assert_close(gradient(model), 2 * once)


@pytest.mark.parametrize("outside", [True, False])
def test_autocast_around_the_call_or_inside_of_embed(outside: bool) -> None:
    """An outer autocast keeps cast weights between the passes; those of the first pass have no graph."""
    whole, cached = network(), network()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = loss(whole(texts()).float())
    expected.backward()

    def embed(rows: slice) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return cached(texts()[rows])

    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=outside):
        value = cached_backward(embed, chunk_slices(ROWS, size=5), loss)
    torch.testing.assert_close(value, expected.detach(), rtol=1e-6, atol=0)
    assert len(gradient(cached)) == len(gradient(whole))
    # The chunks' gradients are summed in float32, the whole batch's in bfloat16.
    assert relative(gradient(cached), gradient(whole)) < 1e-2


def test_only_one_chunk_has_a_graph_at_a_time() -> None:
    model, chunks = network(), chunk_slices(ROWS, size=3)
    seen: list[bool] = []

    def embed(rows: slice) -> Tensor:
        vectors: Tensor = model(texts()[rows])
        seen.append(vectors.requires_grad)
        return vectors

    cached_backward(embed, chunks, loss)
    assert seen == [False] * 4 + [True] * 4


@pytest.mark.parametrize(("size", "expected"), [(3, [True, True, True, False]), (12, [False])])
def test_all_but_the_last_backward_pass_stay_unsynchronised(size: int, expected: list[bool]) -> None:
    model = network()
    held, calls = [False], []

    @contextmanager
    def no_sync() -> Iterator[None]:
        held[0] = True
        yield
        held[0] = False

    def backward(value: Tensor) -> None:
        calls.append(held[0])
        (0.5 * value).backward()

    cached_backward(
        lambda rows: model(texts()[rows]), chunk_slices(ROWS, size=size), loss, backward=backward, no_sync=no_sync
    )
    assert calls == expected
    whole = network()
    loss(whole(texts())).backward()
    torch.testing.assert_close(gradient(model), gradient(whole) / 2, rtol=1e-4, atol=1e-6)


def test_float16_vectors_do_not_lose_a_small_gradient() -> None:
    """The gradient at the vectors, 1e-9, is below the smallest float16."""
    weight = torch.ones(2, 3, requires_grad=True)
    cached_backward(
        lambda rows: weight[rows].half(),
        chunk_slices(2, size=1),
        lambda vectors: 1e-9 * vectors.sum(),
        backward=_scaled,
    )
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad / 2**16, torch.full((2, 3), 1e-9), rtol=1e-2, atol=0)


def _scaled(value: Tensor) -> None:
    (2**16 * value).backward()


def test_random_numbers_from_elsewhere_are_noticed_when_asked() -> None:
    model, hidden = network(), torch.Generator().manual_seed(0)

    def embed(rows: slice) -> Tensor:
        return model(texts()[rows]) * torch.rand(6, generator=hidden)

    with pytest.raises(ModelError, match="chunk 0 gave vectors that differ by"):
        cached_backward(embed, chunk_slices(ROWS, size=5), loss, check_replay=True)


def test_wrong_use_is_named() -> None:
    model = network()
    with pytest.raises(InvalidArgumentError, match="at least one"):
        cached_backward(lambda rows: model(texts()[rows]), [], loss)
    for size in (5, 12):
        with pytest.raises(InvalidArgumentError, match="does not depend on the vectors"):
            cached_backward(
                lambda rows: model(texts()[rows]), chunk_slices(ROWS, size=size), lambda vectors: loss(vectors.detach())
            )


def test_chunks_are_even_and_complete() -> None:
    for rows in range(1, 30):
        for size in range(1, 12):
            lengths = [len(range(rows)[part]) for part in chunk_slices(rows, size=size)]
            assert sum(lengths) == rows
            assert max(lengths) <= size
            assert max(lengths) - min(lengths) <= 1
            assert len(lengths) == -(-rows // size)
    assert [len(range(7)[part]) for part in chunk_slices(7, size=4, chunks=5)] == [1, 1, 2, 1, 2]


@pytest.mark.parametrize(
    ("rows", "size", "chunks", "words"),
    [
        (0, 2, None, "cannot cut 0 rows into chunks of 2"),
        (3, 0, None, "cannot cut 3 rows into chunks of 0"),
        (7, 3, 2, "make 3 to 7 chunks, not 2"),
        (3, 2, 4, "make 2 to 3 chunks, not 4"),
    ],
)
def test_chunks_that_cannot_be(rows: int, size: int, chunks: int | None, words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        chunk_slices(rows, size=size, chunks=chunks)
