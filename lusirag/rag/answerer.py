"""`Answerer`: from a question to an answer that says where it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Unpack

from lusirag.corpus import identify
from lusirag.errors import InvalidArgumentError, ModelError
from lusirag.index import Index
from lusirag.index.requests import SearchOptions, checked_k, checked_share
from lusirag.rag.answer import Answer, Refusal
from lusirag.rag.attribution import attribute
from lusirag.rag.context import pack
from lusirag.rag.extractive import extract, same_language
from lusirag.rag.generator import Generator
from lusirag.rag.passages import as_passages
from lusirag.rag.prompt import Prompt, build_prompt
from lusirag.rag.relevance import Relevance
from lusirag.rag.sentences import Sentences
from lusirag.rag.streaming import is_refusal, may_be_refusal, without_thinking
from lusirag.retrieval import Retriever
from lusirag.types import Encoder, Hit

MIN_RELEVANCE = 0.35
_OWN_LANGUAGE_HITS = 2


class Answerer:
    """Answers questions from an index, with citations, or says that it cannot.

    1. retrieve: the best passages in any language, and the best two in the language of the question.
    2. refuse, when no sentence of them is near enough to the question.
    3. answer: with a generator, from as many passages as its context holds, in the language of the question; without,
       by quoting the sentence that is nearest, in the language of the question where it is about as near.
    4. cite: each passage that the answer names, with the sentence of it that says so.

    Args:
        index: an open index, or a `Retriever` over one.
        generator: `OpenAIGenerator`, `CausalLMGenerator`, those of langchain_lusirag and llama_index_lusirag, or any
            object with their methods; None for extractive answers.
        k: how many passages are retrieved in any language; those in the language of the question come on top.
        max_tokens: longest generated answer.
        min_relevance: how near the best sentence must be, from 0 (off) to 1; see `Relevance`. It tells questions
            about other subjects; whether a passage on the subject holds the answer, only a generator can tell.
        prompt: builds the prompt; see `build_prompt`.

    Raises:
        InvalidArgumentError: one of these is out of range or of the wrong type.
    """

    def __init__(
        self,
        index: Index | Retriever,
        generator: Generator | None = None,
        *,
        k: int = 8,
        max_tokens: int = 512,
        min_relevance: float = MIN_RELEVANCE,
        prompt: Prompt = build_prompt,
    ) -> None:
        if not isinstance(index, Index | Retriever):
            raise InvalidArgumentError(f"index is {index!r}; it must be an Index or a Retriever")
        if generator is not None and not isinstance(generator, Generator):
            raise InvalidArgumentError(
                f"generator is {generator!r}; it must have name, context_tokens, count_tokens and generate; "
                "langchain_lusirag and llama_index_lusirag wrap the models of their frameworks"
            )
        self._retriever = index if isinstance(index, Retriever) else Retriever(index)
        self._generator = generator
        self._k = checked_k(k)
        self._max_tokens = checked_k(max_tokens, "max_tokens")
        self._min_relevance = checked_share(min_relevance, "min_relevance")
        self._prompt = prompt
        self._scale: Relevance | None = None

    def ask(
        self,
        question: str,
        *,
        language: str | None = None,
        on_text: Callable[[str], None] | None = None,
        **options: Unpack[SearchOptions],
    ) -> Answer:
        """Answer a question.

        Args:
            question: in any language.
            language: BCP 47 tag of the language to answer in; identified from the question when None.
            on_text: called with each piece of the answer as it is written.
            options: mode, where, languages, instruction and fusion, as for `Index.search`.

        Raises:
            InvalidArgumentError: as `Index.search`, or the generator's context is too short.
            ModelError: the generator failed, or wrote nothing.
        """
        if not isinstance(language, str | None):
            raise InvalidArgumentError(f'language is {language!r}; it must be a tag such as "sw", or None')
        retriever = self._retriever.pinned()
        embedder = retriever.index.embedder
        hits = retriever.search(question, self._k, **options)
        language = language or identify([question])[0]
        passages = as_passages(hits + self._in_own_language(retriever, question, language, options, found=hits))
        written_by = None if self._generator is None else self._generator.name
        answer = Answer(question, "", language, (), tuple(passages), 0.0, written_by)
        if not passages:
            return replace(answer, refusal=Refusal.NOTHING_FOUND)
        if self._scale is None:
            self._scale = Relevance(embedder)
        sentences = Sentences(passages, embedder, self._scale)
        asked = embedder.encode_queries([question], instruction=options.get("instruction"))[0]
        relevance = sentences.relevance(asked)
        answer = replace(answer, relevance=float(relevance.max()))
        if answer.relevance < self._min_relevance:
            return replace(answer, refusal=Refusal.NOT_RELEVANT)
        said = on_text or (lambda _: None)
        if self._generator is not None:
            return self._generated(answer, sentences, embedder, self._generator, said)
        citation = extract(sentences, relevance, language)
        answer = replace(answer, text=f"{citation.quote} [{citation.passage.number}]", citations=(citation,))
        said(answer.text)
        return answer

    def _in_own_language(
        self, retriever: Retriever, question: str, language: str | None, options: SearchOptions, *, found: list[Hit]
    ) -> list[Hit]:
        """The best hits in the language of the question that are not among those `found` in any."""
        if language is None or options.get("languages") is not None:
            return []
        own = [tag for tag in retriever.index.info()["languages"] if tag is not None and same_language(tag, language)]
        if not own:
            return []
        few = min(self._k, _OWN_LANGUAGE_HITS)
        hits = retriever.search(question, few, **options | SearchOptions(languages=own))
        known = {hit.id for hit in found}
        return [hit for hit in hits if hit.id not in known]

    def _generated(
        self, answer: Answer, sentences: Sentences, embedder: Encoder, generator: Generator, said: Callable[[str], None]
    ) -> Answer:
        messages, shown = pack(
            answer.question,
            answer.passages,
            answer.language,
            prompt=self._prompt,
            generator=generator,
            max_tokens=self._max_tokens,
        )
        answer = replace(answer, passages=tuple(shown))
        text = _written(generator.generate(messages, max_tokens=self._max_tokens), said)
        if not text:
            raise ModelError(
                f"{generator.name} wrote no answer within {self._max_tokens} tokens; allow more with max_tokens "
                "(a model that thinks first needs them), or give another model"
            )
        if is_refusal(text):
            return replace(answer, refusal=Refusal.NOT_IN_PASSAGES)
        citations = attribute(
            text, shown, sentences, embedder=embedder, language=answer.language, min_relevance=self._min_relevance
        )
        return replace(answer, text=text, citations=citations)


def _written(pieces: Iterable[str], said: Callable[[str], None]) -> str:
    """The whole answer; its pieces are passed on once they cannot be the words for no answer any more."""
    text, begun = "", False
    try:
        for piece in without_thinking(pieces):
            text += piece if text else piece.lstrip()
            if begun:
                said(piece)
            elif text and not may_be_refusal(text) and not is_refusal(text):
                said(text)
                begun = True
    finally:
        # Now, not when the last reference goes: who catches what `said` raised keeps the frames alive.
        if (close := getattr(pieces, "close", None)) is not None:
            close()
    if text and not begun and not is_refusal(text):
        said(text)
    return text.strip()
