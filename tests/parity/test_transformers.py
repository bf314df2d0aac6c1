"""Our network against plain transformers modules put together by hand with an explicit two-directional mask."""

from __future__ import annotations

import torch
from torch import nn
from transformers import BertModel, LlamaModel

from tests.conftest import tiny_model


def test_forward_equals_the_modules_put_together_by_hand() -> None:
    model = tiny_model("bert", added_tokens=1)
    encoder = BertModel(model.config.encoder_config, add_pooling_layer=False).eval()
    encoder.load_state_dict(model.multilingual_encoder.state_dict())
    decoder = LlamaModel(model.config.decoder_config).eval()
    incompatible = decoder.load_state_dict(model.language_model.state_dict(), strict=False)
    assert incompatible.missing_keys == ["embed_tokens.weight"]
    assert incompatible.unexpected_keys == []

    ids = torch.randint(4, 256, (1, 11))
    everywhere = torch.zeros(1, 1, 12, 12)  # additive mask: nothing hidden, both directions
    with torch.no_grad():
        hidden = encoder(ids).last_hidden_state
        first, _, second = model.connector.feed_forward
        inputs = second(torch.relu(first(hidden)))
        inputs = torch.cat([inputs, model.connector.added_tokens[None]], dim=1)
        decoded = decoder(inputs_embeds=inputs, attention_mask=everywhere).last_hidden_state
        first, relu, second = model.projection
        assert isinstance(relu, nn.ReLU)
        expected = second(torch.relu(first(decoded.mean(dim=1))))
        torch.testing.assert_close(model(ids).embeddings, expected, atol=1e-5, rtol=0)
