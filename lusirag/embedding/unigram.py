"""Tokenises a few short texts by those pieces of a large vocabulary that occur in them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np
from tokenizers import Tokenizer, models

SHORT = 300  # characters of one call: above it the whole vocabulary pays
PATIENCE = 10_000  # characters of all calls: then they have taken about as long as reading the whole vocabulary
HEAD = 8  # bytes of a piece by which it is sorted
BEFORE, BETWEEN, AFTER = b'"vocab":[["', b'],["', b"]]"  # what stands around the entries of a vocabulary


class ShortTexts:
    """A Unigram tokenizer of whose vocabulary only those pieces are read that occur in the texts.

    Reading a quarter of a million pieces and building the library's search tree takes over half a second and 150 MB,
    more than embedding a question. A Unigram model takes a text apart into pieces that stand in it, so a tree of those
    alone gives the same tokens.

    Args:
        vocabulary: of pieces. unknown: number of the piece for unknown characters; None when there is none.
        frame: the tokenizer with any other vocabulary: its normalizer and its way to split words are used.
    """

    def __init__(self, vocabulary: Vocabulary, unknown: int | None, frame: Tokenizer) -> None:
        self.frame = frame
        self._vocabulary = vocabulary
        self._unknown = unknown
        self.characters = 0  # of all calls

    @classmethod
    def read(cls, content: bytes) -> ShortTexts | None:
        """Of a tokenizer.json; None where it is not Unigram, has pieces for bytes, or is not written compactly.

        Raises:
            Exception: it is damaged; which one is up to the libraries.
        """
        start, end = content.find(BEFORE), content.rfind(AFTER)
        if not 0 < start < end:
            return None
        start += len(BEFORE)
        pipeline = json.loads(content[:start] + b'a",0.0' + content[end:])
        model = pipeline["model"]
        unknown, model["unk_id"] = model["unk_id"], 0
        usual = model["type"] == "Unigram" and not model.get("byte_fallback")
        special = all(token["special"] and not token["normalized"] for token in pipeline["added_tokens"])
        vocabulary = Vocabulary.read(content[start:end])
        if not (usual and special) or vocabulary is None:
            return None
        return cls(vocabulary, unknown, Tokenizer.from_str(json.dumps(pipeline)))

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special tokens."""
        self.characters += sum(map(len, texts))
        words = [word for text in texts for word in self._words(text)]
        parts = {part for word in words for part in _parts(word, self._vocabulary.longest)}
        found = self._vocabulary.find(parts)
        more = set() if self._unknown is None else {self._unknown}
        if not {piece for piece, _ in found.values()}.issuperset("".join(words)):
            more.add(self._vocabulary.least)  # the library derives from it the price of an unknown character
        found |= {number: self._vocabulary[number] for number in more}
        numbers = sorted(found)
        unknown = None if self._unknown is None else numbers.index(self._unknown)
        tokenizer = Tokenizer(models.Unigram([found[number] for number in numbers], unknown))
        tokenizer.normalizer, tokenizer.pre_tokenizer = self.frame.normalizer, self.frame.pre_tokenizer
        encodings = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [[numbers[number] for number in encoding.ids] for encoding in encodings]

    def _words(self, text: str) -> list[str]:
        """A text as the model gets to see it."""
        if self.frame.normalizer is not None:
            text = self.frame.normalizer.normalize_str(text)
        if self.frame.pre_tokenizer is None:
            return [text]
        return [word for word, _ in self.frame.pre_tokenizer.pre_tokenize_str(text)]


class Vocabulary:
    """The entries of a Unigram vocabulary as they stand in a tokenizer.json, found by their first bytes.

    Args:
        entries: `piece",score` of each, with `],["` between them.
    """

    def __init__(self, entries: bytes) -> None:
        content = np.frombuffer(entries + bytes(HEAD), dtype=np.uint8)
        joint = np.ones(len(entries) - len(BETWEEN) + 1, dtype=bool)
        for place, byte in enumerate(BETWEEN):  # no piece holds it: a quotation mark within a piece is escaped
            joint &= content[place : place + len(joint)] == byte
        ends = np.flatnonzero(joint)
        self._entries = entries
        self._starts = np.concatenate(([0], ends + len(BETWEEN)))
        self._ends = np.concatenate((ends, [len(entries)]))
        heads = np.zeros(len(self._starts), dtype=np.uint64)
        for place in range(HEAD):
            heads = heads << np.uint64(8) | content[self._starts + place]
        self._order = np.argsort(heads, kind="stable")
        self._heads = heads[self._order]

    @classmethod
    def read(cls, entries: bytes) -> Vocabulary | None:
        """None where characters are written as numbers, so that a piece cannot be looked for as it is."""
        unescaped = entries.replace(rb"\\", b"").replace(rb"\"", b"")
        return None if b"\\" in unescaped else cls(entries)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, number: int) -> tuple[str, float]:
        """A piece and its score."""
        piece, score = json.loads(b'["' + self._entries[self._starts[number] : self._ends[number]] + b"]")
        return piece, float(score)

    @cached_property
    def longest(self) -> int:
        """No piece has more bytes, so none has more characters."""
        return int((self._ends - self._starts).max()) - len('",0')

    @cached_property
    def least(self) -> int:
        """The number of a piece with the least score."""
        scores = [float(entry.rpartition(b'",')[2]) for entry in self._entries.split(BETWEEN)]
        return scores.index(min(scores))

    def find(self, pieces: Iterable[str]) -> dict[int, tuple[str, float]]:
        """Those that are in the vocabulary, by their numbers, with their scores; the last one of several alike."""
        listed = json.dumps(list(pieces), ensure_ascii=False, separators=("\n", ":"))  # none has a line break in it
        keys = [f'{key}",'.encode() for key in listed[2:-2].split('"\n"')] if listed != "[]" else []
        lows, highs = (
            np.frombuffer(b"".join(key[:HEAD].ljust(HEAD, fill) for key in keys), dtype=">u8")
            for fill in (b"\0", b"\xff")
        )
        first, last = np.searchsorted(self._heads, lows, "left"), np.searchsorted(self._heads, highs, "right")
        found = {}
        for at in np.flatnonzero(first < last):
            same = [
                number
                for number in self._order[first[at] : last[at]].tolist()
                if self._entries.startswith(keys[at], self._starts[number])
            ]
            if same:
                found[max(same)] = self[max(same)]
        return found


def _parts(word: str, longest: int) -> Iterator[str]:
    """Every substring of a word that has at most `longest` characters."""
    for start in range(len(word)):
        for end in range(start + 1, min(start + longest, len(word)) + 1):
            yield word[start:end]
