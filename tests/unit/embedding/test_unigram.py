"""A few short texts are tokenised without the whole vocabulary, and get the same tokens."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from lusirag import Embedder
from lusirag.embedding.catalog import ASSETS, EMBEDDED_MODELS
from lusirag.embedding.tokenization import TextTokenizer
from lusirag.embedding.unigram import PATIENCE, SHORT, ShortTexts
from lusirag.errors import ModelError

FILE = EMBEDDED_MODELS["lusifer-mini"] / "tokenizer.json"
ODD = ['"', "\\", "[", "]", ",", "▁", "a", "b", "é", "漢", "😀", "-", "1", " ", "ab", '],["', '",', "]]", "\\u2581"]


@pytest.fixture(scope="module")
def whole() -> Tokenizer:
    return Tokenizer.from_file(str(FILE))


@pytest.fixture(scope="module")
def short() -> ShortTexts:
    found = ShortTexts.read(FILE.read_bytes())
    assert found is not None
    return found


def tokens(tokenizer: Tokenizer, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids


def test_the_declaration_in_every_language(short: ShortTexts, whole: Tokenizer) -> None:
    table = pq.read_table(ASSETS / "udhr.parquet", columns=["text", "language", "article"]).to_pylist()
    texts = [row["text"][:400] for row in table if row["article"] in (1, 16)]
    assert len({row["language"] for row in table}) > 40
    assert short(texts) == [tokens(whole, text) for text in texts]


@pytest.mark.parametrize(
    "text",
    ["", " ", "𓀀", "a𓀀b 𓀁", 'say "no", \\n or ],["x",-1', "＜s＞ <s>", "ﬁ ﷽ ①", "\x00\x1f", "e\u0301 \u200b"],
    ids=range(9),
)
def test_odd_texts(text: str, short: ShortTexts, whole: Tokenizer) -> None:
    assert short([text]) == [tokens(whole, text)]


@given(
    pieces=st.lists(st.lists(st.sampled_from(ODD), min_size=1, max_size=4).map("".join), min_size=1, max_size=40),
    scores=st.lists(st.integers(-20, 0), min_size=41, max_size=41),
    texts=st.lists(st.lists(st.sampled_from([*ODD, "\n", "z"]), max_size=12).map("".join), max_size=4),
)
@settings(max_examples=300, deadline=None)
def test_any_vocabulary(pieces: list[str], scores: list[int], texts: list[str]) -> None:
    vocabulary = [("<unk>", 0.0), *((piece, score / 4) for piece, score in zip(pieces, scores, strict=False))]
    whole = Tokenizer(models.Unigram(vocabulary, 0))
    short = ShortTexts.read(whole.to_str().encode())
    assert short is not None
    assert short(texts) == [tokens(whole, text) for text in texts]


def changed(change: Any) -> bytes:
    """tokenizer.json of a small vocabulary, changed."""
    pipeline = json.loads(Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0), ("é", -2.0)], 0)).to_str())
    special = {"single_word": False, "lstrip": False, "rstrip": False}
    pipeline["added_tokens"] = [{"id": 0, "content": "<unk>", "special": True, "normalized": False, **special}]
    change(pipeline)
    return json.dumps(pipeline, ensure_ascii=False, separators=(",", ":")).encode()


def test_what_it_leaves_to_the_library() -> None:
    assert ShortTexts.read(changed(lambda pipeline: None)) is not None
    assert ShortTexts.read(changed(lambda pipeline: pipeline["model"].update(byte_fallback=True))) is None
    assert ShortTexts.read(changed(lambda pipeline: pipeline["added_tokens"][0].update(special=False))) is None
    assert ShortTexts.read(changed(lambda pipeline: pipeline["added_tokens"][0].update(normalized=True))) is None
    as_numbers = json.dumps(json.loads(changed(lambda pipeline: None)), separators=(",", ":"))
    assert ShortTexts.read(as_numbers.encode()) is None  # "\u00e9"
    assert ShortTexts.read(json.dumps(json.loads(as_numbers), indent=1, ensure_ascii=False).encode()) is None
    assert ShortTexts.read(Tokenizer(models.BPE({"a": 0}, [])).to_str().encode()) is None
    assert ShortTexts.read(Tokenizer(models.WordPiece({"a": 0}, unk_token="a")).to_str().encode()) is None


def test_the_whole_vocabulary_is_read_for_long_texts_many_calls_and_who_asks(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    shutil.copyfile(FILE, file)
    short, long = (TextTokenizer(file, max_tokens=12) for _ in range(2))
    file.unlink()  # what is read later is what the fingerprint was made of
    text = "Kila mtu ana haki ya kupata elimu, na tena: kila mtu."
    before = short([text, "</s>"])
    assert short._whole is None
    assert before.truncated == 1
    assert [len(ids) for ids in before.ids] == [12, 6]
    assert before.ids[0][0] == before.ids[1][0] == 0
    assert before.ids[0][-1] == before.ids[1][-1] == 2
    assert long([text, "</s>", "x" * SHORT]).ids[:2] == before.ids
    assert long._whole is not None
    seen = len(text) + len("< /s>")
    for _ in range((PATIENCE - seen - 1) // 100):
        short(["a" * 100])
    assert short._whole is None
    short(["a" * 100])
    assert short([text, "</s>"]) == before
    assert short._whole is not None


def test_threads_that_ask_at_once_get_one_whole_tokenizer() -> None:
    text_tokenizer = TextTokenizer(FILE, max_tokens=12)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: text_tokenizer.tokenizer, range(4)))
    assert {id(tokenizer) for tokenizer in found} == {id(text_tokenizer.tokenizer)}


def test_an_embedder_reads_it_when_it_is_asked_for() -> None:
    embedder = Embedder.load("lusifer-mini", runtime="onnx")
    one = embedder.encode_queries(["Who may vote?"])
    assert embedder.tokenizer.get_vocab_size() > 200_000
    assert (embedder.encode_queries(["Who may vote?"]) == one).all()


@pytest.mark.parametrize("cut", [1, 20, 400_000, 3_000_000, 6_000_000])
def test_a_damaged_file_is_an_error_in_words(cut: int, tmp_path: Path) -> None:
    content = FILE.read_bytes()
    file = tmp_path / "tokenizer.json"
    file.write_bytes(content[:cut])
    with pytest.raises(ModelError, match="copy or download it again"):
        TextTokenizer(file, max_tokens=12)
    broken = content.replace('"▁the",'.encode(), '"▁the":'.encode(), 1)
    assert broken != content
    file.write_bytes(broken)
    tokenizer = TextTokenizer(file, max_tokens=12)
    with pytest.raises(ModelError, match="copy or download it again"):
        tokenizer(["x" * (SHORT + 1)])
