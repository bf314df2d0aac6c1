"""A small embedder whose likenesses can be worked out by hand, passages, and generators that say what they are told."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from lusirag.rag import Message, Passage
from lusirag.types import Document, Hit, Vectors

# A word in several languages is one dimension: what a multilingual model is for.
CONCEPTS = (
    ("education", "elimu", "bildung", "образование", "教育"),
    ("rest", "kupumzika", "erholung", "отдых", "休息"),
    ("marry", "kuoa", "heiraten", "жениться", "结婚"),
    ("work", "kazi", "arbeit", "работа", "工作"),
    ("right", "haki", "recht", "право", "权利"),
    ("free", "bure", "kostenlos", "бесплатно", "免费"),
)
DIMENSION = len(CONCEPTS) + 1


def vectors_of(texts: Sequence[str]) -> Vectors:
    """Unit vectors (n, DIMENSION): how often each concept occurs, and 1 for being a text."""
    rows = np.zeros((len(texts), DIMENSION), np.float32)
    for row, text in zip(rows, texts, strict=True):
        row[-1] = 1
        for at, words in enumerate(CONCEPTS):
            row[at] = 2 * sum(text.casefold().count(word) for word in words)
        row /= np.linalg.norm(row)
    return rows


class ToyEmbedder:
    """Texts are near each other when they are about the same concepts, whatever their language."""

    name, fingerprint, dimension, max_tokens = "toy", "t1", DIMENSION, 64

    def __init__(self) -> None:
        self.asked: list[str | None] = []

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        return vectors_of(texts)

    def encode_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        self.asked.append(instruction)
        return vectors_of(texts)


class Scripted:
    """A generator that says its pieces, and remembers what it was asked. A token is a character."""

    def __init__(self, *pieces: str, context_tokens: int = 100_000) -> None:
        self.name, self.context_tokens, self.pieces = "scripted", context_tokens, pieces
        self.prompts: list[str] = []
        self.max_tokens: list[int] = []
        self.counted = 0
        self.closed = False

    def count_tokens(self, messages: Sequence[Message]) -> int:
        self.counted += 1
        return sum(len(message["content"]) for message in messages)

    def generate(self, messages: Sequence[Message], *, max_tokens: int) -> Iterator[str]:
        self.prompts.append("\n".join(message["content"] for message in messages))
        self.max_tokens.append(max_tokens)
        try:
            yield from self.pieces
        finally:
            self.closed = True


def hit(document: str, text: str, start: int = 0, *, chunk: int = 0, language: str | None = "en") -> Hit:
    """A document, or a chunk of one."""
    name = f"{document}#{chunk}" if chunk else document
    return Hit(name, 0.5, text, None, language, None, {}, document, start, start + len(text))


def passage(number: int, text: str, *, language: str | None = "en", start: int = 0) -> Passage:
    """A passage of a document of its own, which it fills from `start` on."""
    found = hit(f"d{number}", text, start, language=language)
    return Passage(number, found, text, start, start + len(text))


def shown_numbers(prompt: str) -> list[int]:
    """The numbers of the passages in a prompt."""
    return [int(number) for number in re.findall(r"^\[(\d+)\]", prompt, re.MULTILINE)]


LAWS = [
    Document("edu-en", "Everyone has the right to education. It is free.", language="en", metadata={"year": 1948}),
    Document("edu-sw", "Kila mtu ana haki ya elimu. Itolewe bure.", language="sw", metadata={"year": 1948}),
    Document("edu-zh", "人人都有受教育的权利。教育应当免费。", language="zh-Hant", metadata={"year": 1966}),
    Document("rest-en", "Everyone has the right to rest.", language="en", metadata={"year": 1948}),
    Document("rest-ru", "Каждый имеет право на отдых.", language="ru", metadata={"year": 1966}),
    Document("marry-de", "Jeder darf heiraten. Niemand muss.", language="de", metadata={"year": 1966}),
]
