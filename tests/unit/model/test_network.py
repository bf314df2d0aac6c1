"""The network: shapes, padding and batches, pooling, both directions of attention."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lusirag.errors import ModelError
from lusirag.model import LusiferModel, check_bidirectional
from tests.conftest import tiny_config, tiny_model

PADDING = 1
TOLERANCE = 1e-5
MODELS = {
    "skip": tiny_model("bert", projection="linear", embedding_size=32, encoder_skip=True, added_tokens=1),
    "published": tiny_model("xlm-roberta", added_tokens=3),
    "weighted": tiny_model("xlm-roberta", pooling="weighted_mean", added_tokens=0),
    "cls": tiny_model("bert", pooling="cls", projection="none"),
    "last": tiny_model("bert", pooling="last", added_tokens=2),
}


def texts_of(lengths: list[int], seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(4, 256, (length,), generator=generator) for length in lengths]


def embed(model: LusiferModel, texts: list[torch.Tensor], *, padded_to: int, left: bool = False) -> torch.Tensor:
    ids = torch.full((len(texts), padded_to), PADDING)
    mask = torch.zeros_like(ids)
    for row, text in enumerate(texts):
        place = slice(padded_to - len(text), None) if left else slice(0, len(text))
        ids[row, place] = text
        mask[row, place] = 1
    with torch.inference_mode():
        return model(ids, mask).embeddings


@pytest.mark.parametrize("kind", MODELS)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.integers(1, 512), min_size=1, max_size=6),
    extra=st.integers(0, 8),
    seed=st.integers(0, 2**31),
)
def test_an_embedding_depends_on_its_own_text_alone(kind: str, lengths: list[int], extra: int, seed: int) -> None:
    model, texts = MODELS[kind], texts_of(lengths, seed)
    alone = torch.cat([embed(model, [text], padded_to=len(text)) for text in texts])
    longest = min(512, max(lengths) + extra)
    together = embed(model, texts, padded_to=longest)
    reversed_order = embed(model, texts[::-1], padded_to=longest).flip(0)
    left = embed(model, texts, padded_to=longest, left=True)
    for other in (together, reversed_order, left):
        torch.testing.assert_close(other, alone, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(("kind", "dimension"), [("skip", 32), ("published", 48), ("cls", 48)])
def test_shape(kind: str, dimension: int) -> None:
    output = MODELS[kind](torch.randint(4, 256, (3, 7)))
    assert output.embeddings.shape == (3, dimension)
    assert output.pooled.shape == (3, 48)


def test_added_tokens_matter_and_are_pooled() -> None:
    model = tiny_model("bert", added_tokens=2)
    before = embed(model, texts_of([5], 1), padded_to=5)
    with torch.no_grad():
        model.connector.added_tokens += 1
    assert not torch.allclose(before, embed(model, texts_of([5], 1), padded_to=5), atol=1e-3)


def test_encoder_skip_adds_the_mean_pooled_encoder_output() -> None:
    model, ids = MODELS["skip"], torch.randint(4, 256, (2, 9))
    with torch.inference_mode():
        output = model(ids)
        expected = model.projection(output.pooled) + model.encode(ids, torch.ones_like(ids)).mean(dim=1)
    torch.testing.assert_close(output.embeddings, expected)


def test_self_check_accepts_both_directions_and_refuses_one() -> None:
    model = tiny_model()
    check_bidirectional(model)
    model.language_model.config.is_causal = True
    with pytest.raises(ModelError, match="attends causally"):
        check_bidirectional(model)


def test_the_language_model_holds_no_vocabulary() -> None:
    names = [name for name, _ in tiny_model().named_parameters()]
    assert not [name for name in names if "embed_tokens" in name or "lm_head" in name]
    with pytest.raises(ModelError, match="inputs_embeds"):
        tiny_model().language_model(input_ids=torch.ones(1, 2, dtype=torch.long))


def test_gradients_reach_every_part() -> None:
    model = tiny_model(added_tokens=1).train()
    model(torch.randint(4, 256, (2, 6))).embeddings.square().sum().backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []


def test_configuration_reports_all_errors_at_once() -> None:
    with pytest.raises(ModelError) as caught:
        tiny_config(pooling="max", projection="quadratic", added_tokens=-1, encoder_skip=True)
    for part in ("pooling", "projection", "added_tokens", "encoder_skip"):
        assert part in str(caught.value)


def test_an_erasure_is_taken_off_at_the_end_and_begins_as_nothing() -> None:
    erased = tiny_model("bert", projection="linear", embedding_size=32, encoder_skip=True, erased_directions=3)
    plain = tiny_model("bert", projection="linear", embedding_size=32, encoder_skip=True)
    plain.load_state_dict({name: weight for name, weight in erased.state_dict().items() if "erasure" not in name})
    text = texts_of([9], 0)
    before, after = (embed(model, text, padded_to=9) for model in (plain, erased))
    read, write = erased.erasure.read.detach(), erased.erasure.write.detach()
    assert read.shape == (32, 3)
    torch.testing.assert_close(after, before - before @ read @ write)
    assert not torch.allclose(after, before, atol=0.01)
    assert not LusiferModel(erased.config).erasure.write.any()


@pytest.mark.parametrize("directions", [-1, 48])
def test_more_directions_than_an_embedding_has_are_refused(directions: int) -> None:
    with pytest.raises(ModelError, match=rf"erased_directions is {directions}, allowed: 0 to 47"):
        tiny_config(erased_directions=directions)
