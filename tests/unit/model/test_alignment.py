"""Stage 1's network: what a target word may see, and where the words come from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import LlamaForCausalLM, Qwen2ForCausalLM

from lusirag.errors import InvalidArgumentError, ModelError
from lusirag.model import LusiferForAlignment, LusiferModel
from tests.conftest import DECODERS, tiny_model, tiny_tokenizer

WORDS = 60


def alignment(decoder: str = "llama", *, attention: str = "prefix", added_tokens: int = 1) -> LusiferForAlignment:
    network = tiny_model("bert", decoder, added_tokens=added_tokens)
    torch.manual_seed(3)
    words = nn.Embedding(WORDS, network.config.decoder_width)
    head = nn.Linear(network.config.decoder_width, WORDS, bias=False)
    return LusiferForAlignment(network, words, head, attention=attention).eval()


def batch() -> dict[str, torch.Tensor]:
    torch.manual_seed(5)
    mask = torch.ones(2, 6, dtype=torch.long)
    mask[1, 4:] = 0
    targets = torch.randint(3, WORDS, (2, 7))
    targets[:, 0] = DECODERS["llama"]().bos_token_id
    return {
        "input_ids": torch.randint(4, 256, (2, 6)),
        "attention_mask": mask,
        "target_ids": targets,
        "target_mask": torch.ones_like(targets),
    }


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_word_sees_the_text_and_the_words_before_it_alone(decoder: str) -> None:
    model, given = alignment(decoder), batch()
    changed = given | {"target_ids": given["target_ids"].clone()}
    changed["target_ids"][:, 4] = (given["target_ids"][:, 4] + 1) % WORDS
    start = 1 + 6 + 1 - 1  # <bos>, text, added token; less the word that stands before the text
    with torch.no_grad():
        before, after = model(**given).logits, model(**changed).logits
    at = start + 4
    if model._begins(given["target_ids"]):
        torch.testing.assert_close(before[:, :at], after[:, :at], atol=1e-5, rtol=0)
        assert (before[:, at:] - after[:, at:]).abs().max() > 1e-3
    else:  # a family whose bos is another id: nothing stands before the text
        torch.testing.assert_close(before[:, : at - 1], after[:, : at - 1], atol=1e-5, rtol=0)


def test_the_text_is_seen_in_both_directions() -> None:
    model, given = alignment(), batch()
    changed = given | {"input_ids": given["input_ids"].clone()}
    changed["input_ids"][:, 3] = 7
    with torch.no_grad():
        difference = (model(**given).logits - model(**changed).logits).abs().amax(dim=(0, 2))
    assert (difference[1:] > 1e-4).all()


def test_in_the_published_form_a_word_sees_itself() -> None:
    model, given = alignment(attention="bidirectional"), batch()
    changed = given | {"target_ids": given["target_ids"].clone()}
    changed["target_ids"][:, 4] = (given["target_ids"][:, 4] + 1) % WORDS
    with torch.no_grad():
        difference = (model(**given).logits - model(**changed).logits).abs().amax(dim=2)
    assert (difference > 1e-4).all()


@pytest.mark.parametrize("added_tokens", [0, 1])
def test_the_loss_does_not_depend_on_padding(added_tokens: int) -> None:
    model, given = alignment(added_tokens=added_tokens), batch()
    with torch.no_grad():
        together = model(**given, reduction="sum").loss
        alone = [
            model(**{name: tensor[row : row + 1, : (4 if row and width == 6 else width)]
                     for name, tensor in given.items() for width in [tensor.shape[1]]}, reduction="sum").loss
            for row in range(2)
        ]  # fmt: skip
    torch.testing.assert_close(together, alone[0] + alone[1], atol=1e-4, rtol=0)


def test_a_hidden_word_is_not_seen_and_keeps_its_place() -> None:
    model, given = alignment(), batch()
    given["target_mask"][:, 3] = 0
    changed = given | {"target_ids": given["target_ids"].clone()}
    changed["target_ids"][:, 3] = 9
    labels = given["target_ids"]
    with torch.no_grad():
        before, after = (model(**each, labels=labels).logits for each in (given, changed))
    at = 1 + 6 + 1 + 2  # the hidden word's own place
    difference = (before - after).abs().amax(dim=(0, 2))
    assert difference[at] > 1e-3
    assert difference[torch.arange(len(difference)) != at].max() < 1e-5


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("rows", [1, 5, 100])
@pytest.mark.parametrize(
    ("decoder", "attention"), [("llama", "prefix"), ("llama", "bidirectional"), ("gemma2", "prefix")]
)
def test_the_loss_in_blocks_of_words_is_the_loss_with_logits(
    monkeypatch: pytest.MonkeyPatch, decoder: str, attention: str, rows: int, reduction: str
) -> None:
    monkeypatch.setattr("lusirag.model.alignment.CPU_BLOCK_LOGITS", rows * WORDS)
    model, given = alignment(decoder, attention=attention, added_tokens=0), batch()
    labels = given["target_ids"].clone()
    labels[1, 5:] = -100
    losses, gradients = [], []
    for with_logits in (True, False):
        model.zero_grad()
        output = model(**given, labels=labels, reduction=reduction, with_logits=with_logits)
        output.loss.backward()
        assert (output.logits is not None) is with_logits
        losses.append(output.loss.detach())
        gradients.append({name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None})
    torch.testing.assert_close(losses[1], losses[0])
    assert gradients[0].keys() == gradients[1].keys() > {"vocabulary_head.weight"}
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-5, atol=1e-6, msg=name)


def test_logits_are_not_kept_for_the_backward_pass() -> None:
    model, given = alignment(), batch()
    kept: list[tuple[int, ...]] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda saved: kept.append(tuple(saved.shape)) or saved, lambda it: it
    ):
        model(**given, with_logits=True)
        assert any(shape[-1:] == (WORDS,) for shape in kept)
        kept.clear()
        model(**given, with_logits=False)
    assert kept
    assert not [shape for shape in kept if shape[-1:] == (WORDS,)]


def test_words_come_from_the_language_models_files(tmp_path: Path) -> None:
    network = tiny_model("bert", "llama")
    for tied, kind, name in ((True, LlamaForCausalLM, "llama"), (False, Qwen2ForCausalLM, "qwen2")):
        config = DECODERS[name]()
        config.tie_word_embeddings = tied
        base = kind(config)
        base.save_pretrained(tmp_path / name)
        network.config.base_models = {"decoder": {"source": str(tmp_path / name), "revision": None}}
        model = LusiferForAlignment.from_base_models(network)
        torch.testing.assert_close(model.token_embedding.weight, base.get_input_embeddings().weight)
        torch.testing.assert_close(model.vocabulary_head.weight, base.get_output_embeddings().weight)
        assert (model.vocabulary_head.weight is model.token_embedding.weight) == tied


def test_a_network_without_base_models_is_refused() -> None:
    with pytest.raises(ModelError, match="does not know its language model"):
        LusiferForAlignment.from_base_models(tiny_model("bert", "llama"))


def test_an_unknown_attention_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="'causal', allowed: prefix, bidirectional"):
        alignment(attention="causal")


def test_the_whole_is_made_from_base_models(tmp_path: Path) -> None:
    encoder = tiny_model("bert").multilingual_encoder
    encoder.save_pretrained(tmp_path / "encoder")
    tiny_tokenizer().save(str(tmp_path / "encoder" / "tokenizer.json"))
    LlamaForCausalLM(DECODERS["llama"]()).save_pretrained(tmp_path / "decoder")
    network = LusiferModel.from_base_models(tmp_path / "encoder", tmp_path / "decoder", decoder_layers=1)
    loss = LusiferForAlignment.from_base_models(network)(**batch()).loss
    assert 3 < float(loss.detach()) < 6  # ln 64 = 4.2 for words that are not known yet
