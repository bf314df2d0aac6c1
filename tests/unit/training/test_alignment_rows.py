"""Stage 1's examples: which task a row is drawn for, target tokens, masks, and the published masking."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lusirag_training.config.stages import RECONSTRUCT, WRITE_QUESTION
from lusirag_training.data.alignment import Mixture, TargetTokens, mask_words, padded_targets
from tests.conftest import tiny_tokenizer
from tests.parity.reference import FOLDER, needs_reference

PAIR = {"query": "who?", "positive": ["a passage", "another passage"]}
LABELLED = {"text": "a text", "label": "a topic"}
DRAWS = 4000


def shares(row: dict[str, object], *, reconstruct_only: bool = False) -> dict[str, float]:
    drawn = Counter(
        Mixture().choose(row, np.random.default_rng(seed), instruction="Answer.", reconstruct_only=reconstruct_only)
        for seed in range(DRAWS)
    )
    by_task: Counter[str] = Counter()
    for example, count in drawn.items():
        by_task[example.instruction] += count
    return {task: count / DRAWS for task, count in by_task.items()}


def test_pairs_are_drawn_in_the_published_shares() -> None:
    found = shares(PAIR)
    assert found == pytest.approx({"Answer.": 0.3, RECONSTRUCT: 0.7 * 0.4, WRITE_QUESTION: 0.7 * 0.6}, abs=0.03)


def test_labelled_texts_are_drawn_in_the_published_shares() -> None:
    assert shares(LABELLED) == pytest.approx({RECONSTRUCT: 0.1, "Answer.": 0.9}, abs=0.03)


@pytest.mark.parametrize("row", [{"text": "plain"}, {"text": "plain", "label": None}])
def test_plain_text_is_always_reconstructed(row: dict[str, object]) -> None:
    assert shares(row) == {RECONSTRUCT: 1.0}


@pytest.mark.parametrize("row", [PAIR, LABELLED])
def test_the_first_phase_reconstructs_alone(row: dict[str, object]) -> None:
    assert shares(row, reconstruct_only=True) == {RECONSTRUCT: 1.0}


def test_each_task_reads_and_writes_its_own_side() -> None:
    seen = {
        (example.instruction, example.source, example.target)
        for seed in range(300)
        for example in [
            Mixture().choose(PAIR, np.random.default_rng(seed), instruction="Answer.", reconstruct_only=False)
        ]
    }
    for passage in PAIR["positive"]:
        assert ("Answer.", "who?", passage) in seen
        assert (WRITE_QUESTION, passage, "who?") in seen
        assert (RECONSTRUCT, passage, passage) in seen
    assert len(seen) == 6


def test_targets_begin_and_end_and_a_cut_one_has_no_end() -> None:
    targets = TargetTokens(tiny_tokenizer(), begin=1, end=2, mask=3, padding=0, most=6)
    short, long = targets(["ab", "abcdefgh"])
    assert (short[0], short[-1]) == (1, 2)
    assert long[0] == 1
    assert len(long) == 6
    assert long[-1] != 2


def test_padding_of_targets_is_neither_seen_nor_asked_for() -> None:
    ids, seen, labels = padded_targets([[5, 6, 7], [8]], [[1, 0, 1], [1]], [[5, 9, 7], [8]], padding_id=4)
    assert ids.tolist() == [[5, 6, 7], [8, 4, 4]]
    assert seen.tolist() == [[1, 0, 1], [1, 0, 0]]
    assert labels.tolist() == [[5, 9, 7], [8, -100, -100]]


@needs_reference
@pytest.mark.parametrize(
    "case",
    [
        "pre_xlm-r_mistral_p0.5_len64",
        "pre_xlm-r_llama_p0.5_len64",
        "pre_t5_mistral_p0.5_len24",
        "pre_xlm-r_mistral_p0.15_len20",
    ],
)
def test_masking_equals_the_published_one(case: str) -> None:
    facts = json.loads((FOLDER / "collators" / "collators.json").read_text("utf-8"))
    tensors = {
        name.removeprefix(f"{case}."): tensor
        for name, tensor in load_file(FOLDER / "collators" / "collators.safetensors").items()
        if name.startswith(f"{case}.")
    }
    given = facts["pretraining"][case]
    mask_id = facts["tokenizer_info"][given["lm"]]["mask_id"]
    labels = tensors["lm_labels"]
    ids, seen = mask_words(
        labels.numpy(),
        tensors["rand_attention"].numpy(),
        tensors["rand_input"].numpy(),
        probability=given["mask_probability"],
        mask_id=mask_id,
    )
    real = labels != -100
    assert (tensors["lm_input_ids"][real] == mask_id).any()
    assert torch.equal(torch.from_numpy(ids)[real], tensors["lm_input_ids"][real])
    assert torch.equal(torch.from_numpy(seen)[real], tensors["lm_attention_mask"][real])
