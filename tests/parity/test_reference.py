"""`from_published` against numbers that the published implementation gave: every case, every stage.

Tolerances are those of the fixtures' README: hidden states and embeddings 1e-5, logits 5e-5, losses 5e-6, gradients
2e-5 of the largest.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lusirag.embedding import Embedder
from lusirag.embedding.tokenization import TextTokenizer
from lusirag.model import LusiferForAlignment, LusiferModel
from lusirag.model.adapters import name_in_files
from lusirag.model.configuration import PUBLISHED_TEMPLATES
from lusirag.model.published import CheckpointNames
from tests.parity.reference import CASES, FOLDER, cases_with, document, needs_reference, tensors, write_checkpoint

pytestmark = needs_reference
TARGETS = ("bos", "nobos", "mixed", "masked", "nolabels")
TEXT_CASES = cases_with("text.json")
# Their gradient is zero in exact arithmetic: a key's bias shifts all attention logits of a query alike.
WITHOUT_GRADIENT = ("attention.self.key.bias", "k_proj.bias")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    written: dict[str, Path] = {}

    def write(case: str) -> Path:
        if case not in written:
            written[case] = write_checkpoint(case, tmp_path_factory.mktemp("published") / case)
        return written[case]

    return write


def assert_near(ours: Tensor, theirs: Tensor, tolerance: float = 1e-5, *, case: str = "") -> None:
    """NOTE: of an mT5 encoder, whose attention is not scaled, the stored float32 numbers are themselves further from
    what float64 gives (2.0 times the tolerance of gradients, 1.2 times that of embeddings) than the reference allows;
    which processor stays within it is chance. A mistake moves embeddings by 0.02 and more."""
    rounding = 2.5 if "_mt5_" in case else 1.0
    torch.testing.assert_close(ours, theirs, atol=rounding * tolerance, rtol=0)


@torch.inference_mode()
@pytest.mark.parametrize("case", CASES)
def test_every_stage(case: str, checkpoint: Callable[[str], Path]) -> None:
    model = LusiferModel.from_published(checkpoint(case), published_positions=True)
    theirs = tensors(case, "io.safetensors")
    ids, mask = theirs["enc.input_ids"], theirs["enc.attention_mask"]
    encoded = model.encode(ids, mask)
    assert_near(encoded, theirs["enc.universal_learner_last_hidden"], case=case)
    connected, connected_mask = model.connector(encoded, mask)
    assert_near(connected, theirs["enc.connector_output"], case=case)
    assert torch.equal(connected_mask, theirs["enc.encoder_attention_mask"])
    assert_near(model.understand(encoded, mask)[0], theirs["enc.encoder_last_hidden"], case=case)
    output = model(ids, mask)
    pooled = "enc.pooled" if "enc.pooled" in theirs else "enc.latent_output"
    assert_near(output.pooled, theirs[pooled], case=case)
    assert_near(output.embeddings, theirs["enc.reps"], case=case)
    wider = model(theirs["encpad16.input_ids"], theirs["encpad16.attention_mask"])
    assert_near(wider.embeddings, theirs["encpad16.reps"], case=case)


@torch.inference_mode()
@pytest.mark.parametrize("case", CASES)
def test_ours_gives_padded_rows_what_the_published_code_gives_rows_alone(
    case: str, checkpoint: Callable[[str], Path]
) -> None:
    model = LusiferModel.from_published(checkpoint(case))
    theirs = tensors(case, "io.safetensors")
    assert_near(model(theirs["enc.input_ids"], theirs["enc.attention_mask"]).embeddings, theirs["solo.reps"], case=case)
    assert_near(
        model(theirs["encpad16.input_ids"], theirs["encpad16.attention_mask"]).embeddings,
        theirs["solo.reps"],
        case=case,
    )


@torch.inference_mode()
@pytest.mark.parametrize("case", CASES)
def test_merged_adapters_give_the_same_embeddings(case: str, checkpoint: Callable[[str], Path]) -> None:
    theirs = tensors(case, "io.safetensors")
    model = LusiferModel.from_published(checkpoint(case), merge_adapters=True)
    assert not any("lora" in name for name, _ in model.named_parameters())
    assert_near(model(theirs["enc.input_ids"], theirs["enc.attention_mask"]).embeddings, theirs["solo.reps"], case=case)


@torch.inference_mode()
@pytest.mark.parametrize("case", CASES)
def test_the_alignment_loss(case: str, checkpoint: Callable[[str], Path]) -> None:
    model = LusiferForAlignment.from_published(checkpoint(case), published_positions=True)
    theirs = tensors(case, "io.safetensors")
    for target in TARGETS:
        words = (
            theirs[f"lm_{target}.llm_input_ids"],
            theirs[f"lm_{target}.llm_attention_mask"],
            theirs.get(f"lm_{target}.lm_labels"),
        )
        output = model(theirs["enc.input_ids"], theirs["enc.attention_mask"], *words)
        assert_near(output.loss[None], theirs[f"lm_{target}.loss"], 5e-6, case=case)
        wider = model(theirs["encpad16.input_ids"], theirs["encpad16.attention_mask"], *words)
        assert_near(wider.loss[None], theirs[f"lm_{target}_pad16.loss"], 5e-6, case=case)
        if target == "bos":
            assert_near(output.logits, theirs["lm_bos.logits"], 5e-5, case=case)


@pytest.mark.parametrize("case", cases_with("grads.safetensors"))
@pytest.mark.parametrize("kind", ["enc_dot", "lm_bos"])
def test_gradients(case: str, kind: str, checkpoint: Callable[[str], Path]) -> None:
    model = LusiferForAlignment.from_published(checkpoint(case), published_positions=True)
    model.requires_grad_(True)
    theirs, gradients = tensors(case, "io.safetensors"), tensors(case, "grads.safetensors")
    ids, mask = theirs["enc.input_ids"], theirs["enc.attention_mask"]
    if kind == "enc_dot":
        value = (model.network(ids, mask).embeddings * gradients["enc_dot.R"]).sum()
    else:
        words = (theirs[f"lm_bos.{name}"] for name in ("llm_input_ids", "llm_attention_mask", "lm_labels"))
        value = model(ids, mask, *words).loss
    assert_near(value.detach()[None], gradients[f"{kind}.value"].view(1), 1e-5, case=case)
    value.backward()

    ours = {name_in_files(name): parameter for name, parameter in model.network.named_parameters()}
    our_name = CheckpointNames(model.network.config)
    compared = 0
    for key, gradient in gradients.items():
        published = key.removeprefix(f"{kind}.grad.")
        name = our_name(published)
        if published == key or name is None or name.endswith(WITHOUT_GRADIENT):
            continue
        assert_near(ours[name].grad, gradient, 2e-5 * gradient.abs().max().item(), case=case)
        compared += 1
    assert compared >= 10


@pytest.mark.parametrize("case", TEXT_CASES)
def test_token_ids(case: str) -> None:
    text = document(case, "text.json")
    backbone = document(case, "hparams.json")["universal_learner_name_or_path"]
    for call in text["calls"].values():
        template = PUBLISHED_TEMPLATES["query" if call["is_query"] else "document"]
        texts = [call["texts"]] if isinstance(call["texts"], str) else call["texts"]
        framed = [template.format(instruction=call["instruction"] or "", text=each) for each in texts]
        tokenizer = TextTokenizer(
            FOLDER / case / backbone / "tokenizer.json", max_tokens=call["max_length"], as_published=True
        )
        assert tokenizer(framed).ids == [
            [token for token, seen in zip(example["input_ids"], example["attention_mask"], strict=True) if seen]
            for example in call["examples"]
        ]


@torch.inference_mode()
@pytest.mark.parametrize("case", TEXT_CASES)
def test_embeddings_of_texts_in_the_published_batches(case: str, checkpoint: Callable[[str], Path]) -> None:
    model = LusiferModel.from_published(checkpoint(case), published_positions=True)
    theirs = tensors(case, "text.safetensors")
    for call in document(case, "text.json")["calls"]:
        batches = sorted(key for key in theirs if key.startswith(f"{call}.batch") and key.endswith("input_ids"))
        ours = [model(theirs[key], theirs[key.replace("input_ids", "attention_mask")]).embeddings for key in batches]
        assert_near(torch.cat(ours), theirs[f"{call}.embeddings"].view(-1, model.config.dimension))


@pytest.mark.parametrize("case", TEXT_CASES)
def test_the_embedder_loads_a_published_checkpoint(case: str, checkpoint: Callable[[str], Path]) -> None:
    embedder = Embedder.load(checkpoint(case), local_files_only=True)
    call = document(case, "text.json")["calls"]["single_string"]
    texts = [call["texts"]] if isinstance(call["texts"], str) else call["texts"]
    ours = embedder.encode_queries(texts, instruction=call["instruction"])
    theirs = tensors(case, "text.safetensors")["single_string.embeddings"].numpy()
    # The published row is padded to a multiple of 8, which moves the added token: near, not equal.
    cosine = float(ours[0] @ (theirs / np.linalg.norm(theirs)))
    assert cosine > 0.9
