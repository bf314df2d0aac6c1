"""Every backbone: built, bidirectional over the whole text, and blind to padding."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import MambaConfig, OlmoConfig

from lusirag.errors import ModelError
from lusirag.model import LusiferConfig, LusiferModel, check_bidirectional
from tests.conftest import DECODER, DECODERS, ENCODERS, tiny_config, tiny_model

PAIRS = [(encoder, "llama") for encoder in ENCODERS] + [("bert", decoder) for decoder in DECODERS]


@pytest.mark.parametrize(("encoder", "decoder"), PAIRS)
def test_padding_changes_nothing(encoder: str, decoder: str) -> None:
    model = tiny_model(encoder, decoder, added_tokens=2)
    text = torch.randint(4, 256, (1, 21), generator=torch.Generator().manual_seed(5))
    padding = torch.full((1, 9), 1)
    mask, unseen = torch.ones_like(text), torch.zeros_like(padding)
    with torch.inference_mode():
        alone = model(text, mask).embeddings
        right = model(torch.cat([text, padding], 1), torch.cat([mask, unseen], 1)).embeddings
        left = model(torch.cat([padding, text], 1), torch.cat([unseen, mask], 1)).embeddings
    torch.testing.assert_close(right, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(left, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("length", [1, 21])
@pytest.mark.parametrize(("encoder", "decoder"), PAIRS)
def test_without_a_mask_texts_are_embedded_as_with_one_of_ones(encoder: str, decoder: str, length: int) -> None:
    window = {"past_window": 4} if decoder in ("gemma2", "gemma3") else {}
    model = tiny_model(encoder, decoder, added_tokens=2, **window)
    texts = torch.randint(4, 256, (3, length), generator=torch.Generator().manual_seed(5))
    ones = torch.ones_like(texts)
    beside_padding = torch.cat([texts, torch.ones_like(texts[:, :1])], 1)
    with torch.inference_mode():
        bare, masked = model(texts).embeddings, model(texts, ones).embeddings
        padded = model(beside_padding, torch.cat([ones, torch.zeros_like(ones[:, :1])], 1)).embeddings
    torch.testing.assert_close(bare, masked, atol=1e-6, rtol=0)
    torch.testing.assert_close(bare, padded, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("encoder", "decoder"), PAIRS)
def test_it_is_saved_and_loaded_as_it_was(encoder: str, decoder: str, tmp_path: Path) -> None:
    model = tiny_model(encoder, decoder)
    model.save_pretrained(tmp_path)
    again = LusiferModel.from_pretrained(tmp_path)
    ids = torch.tensor([[0, 9, 8, 7, 6, 5, 4, 3, 2, 9, 8, 7, 6]])
    with torch.inference_mode():
        assert torch.equal(again(ids).embeddings, model(ids).embeddings)


@pytest.mark.parametrize("decoder", DECODERS)
def test_the_first_position_sees_the_last_beyond_any_window(decoder: str) -> None:
    model = tiny_model("bert", decoder, added_tokens=0, pooling="cls", projection="none")
    vectors = torch.randn(1, 40, 48, generator=torch.Generator().manual_seed(6))
    changed = vectors.clone()
    changed[0, 39] *= -1.0
    mask = torch.ones(1, 40, dtype=torch.long)
    run = model.language_model
    # One layer, so that nothing can travel from the last position to the first in several steps.
    run.layers = run.layers[:1]
    run.config.num_hidden_layers = 1
    positions = torch.arange(40)[None]
    with torch.inference_mode():
        first, second = (
            run(inputs_embeds=each, attention_mask=mask, position_ids=positions).last_hidden_state[0, 0]
            for each in (vectors, changed)
        )
    assert (first - second).abs().max() > 1e-4


def test_a_decoder_that_no_list_names_loads_and_is_checked() -> None:
    encoder = tiny_config().encoder_config
    model = LusiferModel(LusiferConfig(encoder_config=encoder, decoder_config=OlmoConfig(**DECODER))).eval()
    check_bidirectional(model)
    assert model(torch.tensor([[5, 6, 7]])).embeddings.shape == (1, 48)


def test_a_decoder_that_stays_causal_is_refused() -> None:
    config = MambaConfig(vocab_size=64, hidden_size=48, num_hidden_layers=1, state_size=4)
    config.max_position_embeddings = 512
    model = LusiferModel(LusiferConfig(encoder_config=tiny_config().encoder_config, decoder_config=config)).eval()
    with pytest.raises(ModelError, match=r"\(mamba\) attends causally"):
        check_bidirectional(model)


def test_an_encoder_of_another_type_is_refused_with_the_list() -> None:
    decoder = tiny_config().decoder_config
    with pytest.raises(ModelError, match=r"of type 'gpt2'; supported: bert, xlm-roberta"):
        LusiferModel(LusiferConfig(encoder_config={"model_type": "gpt2", "n_embd": 48}, decoder_config=decoder))


def test_a_gemma_multiplies_vectors_as_it_does_its_token_embeddings() -> None:
    model = tiny_model("bert", "gemma2")
    assert model.language_model.get_input_embeddings().scale == pytest.approx(48**0.5)
    assert tiny_model("bert", "llama").language_model.get_input_embeddings().scale == 1.0


def test_the_encoder_alone_is_a_model_too() -> None:
    model = tiny_model("xlm-roberta", None, connector="none", projection="none")
    ids = torch.tensor([[0, 9, 8, 7, 2]])
    with torch.inference_mode():
        expected = model.multilingual_encoder(input_ids=ids).last_hidden_state.mean(dim=1)
        torch.testing.assert_close(model(ids).embeddings, expected)
    assert not hasattr(model, "language_model")


def test_an_embedding_table_mixes_the_vocabulary() -> None:
    model = tiny_model("bert", connector="embedding_table", added_tokens=0)
    encoded = torch.randn(1, 3, 32)
    vectors, mask = model.connector(encoded, torch.ones(1, 3))
    words = torch.softmax(encoded @ model.connector.to_vocabulary.weight.T + model.connector.to_vocabulary.bias, -1)
    torch.testing.assert_close(vectors, words @ model.connector.embedding.weight)
    assert mask.shape == (1, 3)


def test_latent_attention_gives_unit_length_and_ignores_padding() -> None:
    head = {"latents": 8, "heads": 2, "head_width": 16}
    model = tiny_model("bert", pooling="latent_attention", latent_attention=head, projection="none", added_tokens=0)
    ids = torch.tensor([[5, 6, 7, 1, 1]])
    with torch.inference_mode():
        padded = model(ids, (ids != 1).long()).embeddings
        torch.testing.assert_close(padded, model(ids[:, :3]).embeddings, atol=1e-6, rtol=0)
    torch.testing.assert_close(padded.norm(), torch.tensor(1.0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"connector": "embedding_table", "added_tokens": 1}, "allows none: give 0"),
        ({"pooling": "latent_attention"}, "give both"),
        ({"matryoshka_dimensions": [16, 99]}, "allowed: 1 to 48"),
        ({"connector": "none"}, "goes without a language model"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        tiny_config(**settings)
