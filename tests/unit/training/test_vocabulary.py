"""Trimming a Unigram vocabulary loses pieces, never text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_sources import LETTERS, SPECIAL, tokenizer_json
from tokenizers import Tokenizer

from lusirag_training.vocabulary import script_of, trim_tokenizer

FULL = tokenizer_json()
SIZE = 60
TRIMMED = trim_tokenizer(FULL, size=SIZE)
BEFORE, AFTER = (Tokenizer.from_str(json.dumps(content)) for content in (FULL, TRIMMED.tokenizer))


def test_ids_are_contiguous_and_rows_point_to_the_same_pieces() -> None:
    assert len(TRIMMED.rows) == SIZE == AFTER.get_vocab_size()
    assert sorted(AFTER.get_vocab().values()) == list(range(SIZE))
    for new, old in enumerate(TRIMMED.rows):
        assert AFTER.id_to_token(new) == BEFORE.id_to_token(old)


def test_scores_are_rounded_as_asked() -> None:
    content = {
        **FULL,
        "model": {**FULL["model"], "vocab": [[piece, score - 1 / 7] for piece, score in FULL["model"]["vocab"]]},
    }
    scores = dict(content["model"]["vocab"])
    for digits in (2, 3, 6):
        found = trim_tokenizer(content, size=SIZE, score_digits=digits).tokenizer["model"]["vocab"]
        assert found == [[piece, round(scores[piece], digits)] for piece, _ in found]


def test_special_tokens_stay_and_follow_their_new_ids() -> None:
    assert [AFTER.token_to_id(token) for token in [*SPECIAL, "<mask>"]] == [0, 1, 2, 3, SIZE - 1]
    assert AFTER.encode("ab").ids[0] == 0
    assert AFTER.encode("ab").ids[-1] == SIZE - 1
    assert AFTER.encode("☃", add_special_tokens=False).tokens[-1] == "☃"
    assert AFTER.encode("☃", add_special_tokens=False).ids[-1] == 3


def test_all_single_characters_stay() -> None:
    kept = AFTER.get_vocab()
    assert set(LETTERS) | {"▁", "▁a"} <= kept.keys()


def test_a_piece_with_a_character_that_is_no_piece_stays() -> None:
    assert AFTER.token_to_id("dq") is not None
    assert 3 not in AFTER.encode("bdq", add_special_tokens=False).ids


@given(st.text(alphabet=LETTERS + " q☃", max_size=40))
def test_no_unknown_token_where_there_was_none(text: str) -> None:
    before, after = (tokenizer.encode(text, add_special_tokens=False) for tokenizer in (BEFORE, AFTER))
    if 3 not in before.ids:
        assert 3 not in after.ids
        assert "".join(after.tokens) == "".join(before.tokens)
        assert len(after) >= len(before)


def test_each_script_gets_its_share_by_score() -> None:
    few = trim_tokenizer(FULL, size=60, shares={"LATIN": 0.1, "CYRILLIC": 0.2, "BENGALI": 0.1}, default_share=0.1)
    kept = [FULL["model"]["vocab"][row][0] for row in few.rows]
    longer = [piece for piece in kept if len(piece.removeprefix("▁")) == 2 and piece != "dq"]
    counts = {
        script: sum(script_of(piece) == script for piece in longer) for script in ("LATIN", "CYRILLIC", "BENGALI")
    }
    assert counts["CYRILLIC"] > counts["LATIN"] > counts["BENGALI"] > 0
    scores = dict(map(tuple, FULL["model"]["vocab"]))
    lost = {piece for piece in scores if script_of(piece) == "CYRILLIC"} - set(kept)
    assert min(scores[piece] for piece in longer if script_of(piece) == "CYRILLIC") >= max(
        scores[piece] for piece in lost
    )


def test_the_source_is_not_changed() -> None:
    trim_tokenizer(FULL, size=50)
    assert tokenizer_json() == FULL


@pytest.mark.parametrize(("size", "message"), [(10, "characters alone"), (10_000, "has only")])
def test_sizes_that_cannot_be(size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trim_tokenizer(FULL, size=size)


def test_only_unigram() -> None:
    with pytest.raises(ValueError, match="BPE"):
        trim_tokenizer(FULL | {"model": {"type": "BPE"}}, size=10)


@pytest.mark.parametrize(
    ("piece", "script"), [("▁мир", "CYRILLIC"), ("中文", "CJK"), ("2024", "COMMON"), ("▁", "COMMON"), ("1st", "LATIN")]
)
def test_script_of(piece: str, script: str) -> None:
    assert script_of(piece) == script
