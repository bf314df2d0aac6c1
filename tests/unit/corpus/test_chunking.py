from __future__ import annotations

import math
from functools import cache
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from lusirag import Embedder
from lusirag.corpus import CHUNK_COLUMN, Chunker, documents_to_batches
from lusirag.corpus.chunking import most_tokens
from lusirag.errors import InvalidArgumentError
from lusirag.types import Document


@cache
def tokenizer() -> Tokenizer:
    """A small Unigram tokenizer: a few pieces, else single characters; unknown ones are one token each run."""
    letters = [chr(code) for code in range(33, 127)]
    pieces = [("<unk>", -9.0), ("▁", -2.0), *((letter, -5.0) for letter in letters)]
    pieces += [
        ("▁the", -2.0),
        ("ing", -2.5),
        ("er", -2.5),
        ("▁a", -2.5),
        ("。", -3.0),
        ("ก", -4.0),
        ("自", -4.0),
        ("由", -4.0),
    ]
    made = Tokenizer(models.Unigram(pieces, unk_id=0))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    return made


def count(text: str) -> int:
    return len(tokenizer().encode(text, add_special_tokens=False).ids)


def split(text: str, title: str | None = None, *, max_tokens: int, overlap: int = 0) -> pa.RecordBatch:
    (batch,) = documents_to_batches([Document("d", text, title=title, language="en", metadata={"n": 7})])
    return Chunker(tokenizer(), max_tokens=max_tokens, overlap=overlap).chunk(batch)


def check(text: str, chunks: pa.RecordBatch, max_tokens: int, title: str | None = None) -> None:
    """Chunks are the text at their places, in order, within the budget, and only white space lies outside of them."""
    covered = previous_start = previous_end = 0
    rows = chunks.to_pylist()
    for number, row in enumerate(rows, start=1):
        place = row[CHUNK_COLUMN]
        assert place["document_id"] == "d"
        assert text[place["start"] : place["end"]] == row["text"]
        assert (row["language"], row["n"], row["title"]) == ("en", 7, title)
        assert row["id"] == ("d" if len(rows) == 1 else f"d#{number}")
        assert count(row["text"] if title is None else f"{title}\n{row['text']}") <= max_tokens
        assert place["start"] >= previous_start
        assert place["end"] > previous_end
        assert not text[covered : place["start"]].strip()
        covered = max(covered, place["end"])
        previous_start, previous_end = place["start"], place["end"]
    assert not text[covered:].strip()


TEXTS = st.text(
    st.sampled_from("ab the ing. !?\n\r\t自由。、กา้नमस्ते।ကြ။ខ្មែរ។؟م👨‍👩‍👧é e\u0301\u00a0\u2028"),
    min_size=1,
    max_size=600,
).filter(lambda text: bool(text.strip()))


@settings(max_examples=150, deadline=None)
@given(text=TEXTS, max_tokens=st.integers(8, 40), share=st.floats(0, 0.99))
def test_nothing_is_lost_and_all_fits(text: str, max_tokens: int, share: float) -> None:
    check(text, split(text, max_tokens=max_tokens, overlap=int(share * max_tokens)), max_tokens)


@cache
def tokenizers() -> dict[str, Tokenizer]:
    """Of each family one."""
    letters = [chr(code) for code in range(33, 127)]
    byte_level = Tokenizer(
        models.BPE({letter: at for at, letter in enumerate(pre_tokenizers.ByteLevel.alphabet())}, [])
    )
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    in_bytes = [("<unk>", 0.0), *((f"<0x{byte:02X}>", -5.0) for byte in range(256)), ("▁", -1.0), ("a", -1.0)]
    unigram = Tokenizer(models.Unigram(in_bytes, unk_id=0, byte_fallback=True))
    unigram.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    pieces = ["[UNK]", *letters, *(f"##{letter}" for letter in letters), *map(chr, range(0x1100, 0x1200)), "自"]
    pieces += [f"##{chr(code)}" for code in range(0x1100, 0x1200)]
    wordpiece = Tokenizer(models.WordPiece({piece: at for at, piece in enumerate(pieces)}, unk_token="[UNK]"))
    wordpiece.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    wordpiece.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    mini = Embedder.load("lusifer-mini").tokenizer
    return {"mini": mini, "tiny": tokenizer(), "bytes": byte_level, "unigram": unigram, "wordpiece": wordpiece}


@settings(max_examples=300, deadline=None)
@given(text=st.one_of(st.text(max_size=40), TEXTS, st.text("한국어İßéñ自由 ab1,.", max_size=40)))
@example("")
@example("한국어를 배우다")
@example("!?.,-(){}")
def test_no_tokenizer_exceeds_the_most_tokens(text: str) -> None:
    for name, each in tokenizers().items():
        assert len(each.encode(text, add_special_tokens=False)) <= most_tokens(text), name


def test_it_is_a_bound_for_what_has_no_compatible_form() -> None:
    assert most_tokens("abc") == 5
    assert most_tokens("é自") == 7
    assert most_tokens("㎏") == most_tokens("e\u0301") == math.inf


def test_only_texts_that_may_be_too_long_are_counted() -> None:
    asked: list[str] = []

    class Counting(Chunker):
        def _counts(self, texts: list[str]) -> list[int]:
            asked.extend(texts)
            return super()._counts(texts)

    texts = ["the the", "x" * 18, "x" * 19, "自由" * 4, "㎏", "x. " * 20]
    documents = [Document(str(at), text, language="en") for at, text in enumerate(texts)]
    (batch,) = documents_to_batches(documents)
    chunks = Counting(tokenizer(), max_tokens=20).chunk(batch)
    assert asked[:4] == ["x" * 19, "自由" * 4, "㎏", "x. " * 20]
    assert [row["id"] for row in chunks.to_pylist()][:5] == ["0", "1", "2", "3", "4"]


def test_what_a_tokenizer_writes_out_is_counted() -> None:
    mini = tokenizers()["mini"]
    text = " ".join(["\ufdfa"] * 8)  # a sentence each
    (batch,) = documents_to_batches([Document("d", text, language="ar")])
    assert len(mini.encode(text, add_special_tokens=False)) > len(text.encode()) - 3
    chunks = Chunker(mini, max_tokens=12).chunk(batch)
    assert chunks.num_rows > 1
    assert all(len(mini.encode(row["text"], add_special_tokens=False)) <= 12 for row in chunks.to_pylist())


@settings(max_examples=60, deadline=None)
@given(text=TEXTS, title=st.text("abc the", min_size=1, max_size=8).filter(lambda title: count(f"{title}\n") <= 10))
def test_the_title_takes_its_part(text: str, title: str) -> None:
    check(text, split(text, title, max_tokens=20), 20, title)


def test_a_document_that_fits_stays_as_it_is() -> None:
    chunks = split("  the fishing. \n", max_tokens=20)
    assert chunks["id"].to_pylist() == ["d"]
    assert chunks["text"].to_pylist() == ["  the fishing. \n"]
    assert chunks[CHUNK_COLUMN].to_pylist() == [{"document_id": "d", "start": 0, "end": 16}]


@pytest.mark.parametrize(
    ("sentences", "joint"),
    [
        (["The cat sat here.", "A dog ran there!", "Who was it then?"], " "),
        (["自由自由自由自由。", "由自由自由自自由。", "自自自自由由由由。"], ""),
        (["سلام دنیا خوب؟", "حال شما چطور؟", "من خوب هستم؟"], " "),
        (["नमस्ते दुनिया।", "आप कैसे हैं।", "मैं ठीक हूँ।"], " "),
        (["မင်္ဂလာပါ။", "နေကောင်းလား။", "ကောင်းပါတယ်။"], ""),
    ],
)
def test_cuts_are_at_sentence_ends(sentences: list[str], joint: str) -> None:
    longest = max(count(sentence) for sentence in sentences)
    chunks = split(joint.join(sentences), max_tokens=max(8, longest + 1))
    check(joint.join(sentences), chunks, max(8, longest + 1))
    # A chunk holds whole sentences: each ends as some sentence ends.
    assert all(text[-1] in {sentence[-1] for sentence in sentences} for text in chunks["text"].to_pylist())


def test_whole_sentences_overlap() -> None:
    sentences = [f"Sentence {letter} is." for letter in "abcdefgh"]
    size = max(count(sentence) for sentence in sentences)
    chunks = split(" ".join(sentences), max_tokens=3 * size + 2, overlap=size + 1)
    texts = chunks["text"].to_pylist()
    assert len(texts) > 2
    for before, after in pairwise(texts):
        assert before.endswith(after.split(". ")[0] + ".")
    check(" ".join(sentences), chunks, 3 * size + 2)


def test_a_giant_title_does_not_starve_the_text() -> None:
    chunks = split("the the the. " * 40, "endless title " * 50, max_tokens=20)
    sizes = [count(text) for text in chunks["text"].to_pylist()]
    assert max(sizes) <= 10
    assert min(sizes[:-1]) >= 5


@pytest.mark.parametrize(
    "text", ["x" * 30_000, "自由" * 10_000, "ab " * 10_000, "ก" * 20_000, "a" + " " * 30_000 + "b" * 99]
)
@pytest.mark.parametrize("overlap", [0, 5])
def test_long_texts_without_sentences(text: str, overlap: int) -> None:
    chunks = split(text, max_tokens=32, overlap=overlap)
    check(text, chunks, 32)
    assert chunks.num_rows > 1


def test_rows_are_replaced_in_place() -> None:
    documents = [Document("a", "short"), Document("b", "the a. " * 60, metadata={"n": [1]}), Document("c", "short")]
    (batch,) = documents_to_batches(documents)
    chunks = Chunker(tokenizer(), max_tokens=30).chunk(batch)
    ids = chunks["id"].to_pylist()
    assert (ids[0], ids[1], ids[-1]) == ("a", "b#1", "c")
    assert set(chunks["n"].to_pylist()[1:-1][0]) == {1}
    assert chunks.schema.names == [*batch.schema.names, CHUNK_COLUMN]
    assert chunks.num_rows > 4


def test_an_empty_batch_has_the_column_too() -> None:
    (batch,) = documents_to_batches([Document("a", "x")])
    chunks = Chunker(tokenizer(), max_tokens=8).chunk(batch.slice(0, 0))
    assert chunks.num_rows == 0
    assert CHUNK_COLUMN in chunks.schema.names


def test_the_tokenizer_is_not_changed() -> None:
    own = Tokenizer.from_str(tokenizer().to_str())
    own.enable_truncation(4)
    own.enable_padding()
    (batch,) = documents_to_batches([Document("d", "the fishing. " * 40, language="en", metadata={"n": 7})])
    chunks = Chunker(own, max_tokens=20).chunk(batch)
    check("the fishing. " * 40, chunks, 20)
    assert chunks.num_rows > 5
    assert own.truncation is not None
    assert own.padding is not None


@pytest.mark.parametrize(
    "options", [{"max_tokens": 7}, {"max_tokens": 20, "overlap": 20}, {"max_tokens": 9, "overlap": -1}]
)
def test_arguments_are_checked(options: dict[str, int]) -> None:
    with pytest.raises(InvalidArgumentError, match="must be"):
        Chunker(tokenizer(), **options)  # type: ignore[arg-type]
