"""A language model of LlamaIndex writes answers: what it is asked, what it says, how it fails."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from llama_fakes import WordEncoder
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse, LLMMetadata, MessageRole
from llama_index.core.llms import LLM, CustomLLM, MockLLM

from llama_index_lusirag import LLMGenerator
from llama_index_lusirag.generator import load
from lusirag import Document, Index
from lusirag.errors import InvalidArgumentError, MissingDependencyError, ModelError
from lusirag.rag import Answerer, Generator, Message
from lusirag.rag.generator import approximate_tokens
from lusirag.rag.loading import load_generator

MESSAGES: list[Message] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Who may marry?"},
]


class Scripted(CustomLLM):
    """A model that says what it is told to, by a stream of pieces or, where there are none, at once."""

    model: str = "scripted-1"
    max_new_tokens: int = 256
    context_window: int = 3900
    pieces: list[Any] | None = None
    chat_model: bool = False
    system_role: MessageRole = MessageRole.SYSTEM
    seen: list[Any] = []  # noqa: RUF012
    left: list[str] = []  # noqa: RUF012

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(
            context_window=self.context_window,
            model_name=self.model,
            is_chat_model=self.chat_model,
            system_role=self.system_role,
        )

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        self.seen.append((prompt, formatted, kwargs, self.max_new_tokens))
        return CompletionResponse(text="Men and women [1].")

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        self.seen.append((prompt, formatted, kwargs, self.max_new_tokens))
        if self.pieces is None:
            raise NotImplementedError("no streaming")
        return self._pieces(lambda text, delta: CompletionResponse(text=text, delta=delta))

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        self.seen.append((messages, kwargs, self.max_new_tokens))
        return ChatResponse(message=ChatMessage(role="assistant", content="Men and women [1]."))

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        if self.pieces is None:
            raise NotImplementedError("no streaming")
        self.seen.append((messages, kwargs, self.max_new_tokens))
        return self._pieces(
            lambda text, delta: ChatResponse(message=ChatMessage(role="assistant", content=text), delta=delta)
        )

    def _pieces(self, response: Callable[[str, str | None], Any]) -> Any:
        text = ""
        try:
            for piece in self.pieces or []:
                if isinstance(piece, Exception):
                    raise piece
                delta = piece[1] if isinstance(piece, tuple) else piece
                text += piece[0] if isinstance(piece, tuple) else piece
                yield response(text, delta)
        finally:
            self.left.append("closed")


def answer(llm: LLM, max_tokens: int = 32) -> list[str]:
    return list(LLMGenerator(llm).generate(MESSAGES, max_tokens=max_tokens))


def test_it_is_a_generator_of_lusirag() -> None:
    generator = LLMGenerator(Scripted())
    assert isinstance(generator, Generator)
    assert (generator.name, generator.context_tokens) == ("scripted-1", 3900)
    assert (LLMGenerator(MockLLM()).name, LLMGenerator(Scripted(), context_tokens=100).context_tokens) == (
        "MockLLM",
        100,
    )


@pytest.mark.parametrize("chat_model", [True, False])
def test_the_answer_comes_in_the_pieces_of_the_model(chat_model: bool) -> None:
    assert answer(Scripted(pieces=["Men ", "and", "", " women."], chat_model=chat_model)) == ["Men ", "and", " women."]
    repeated = [("Men ", None), ("and women.", None)]  # each response repeats all there is
    assert answer(Scripted(pieces=repeated, chat_model=chat_model)) == ["Men ", "and women."]


@pytest.mark.parametrize("chat_model", [True, False])
def test_a_model_that_cannot_stream_answers_at_once(chat_model: bool) -> None:
    assert answer(Scripted(chat_model=chat_model)) == ["Men and women [1]."]


def test_a_chat_model_gets_messages_in_its_own_roles() -> None:
    model = Scripted(chat_model=True, system_role=MessageRole.CHATBOT)
    answer(model)
    assert [(message.role.value, message.content) for message in model.seen[0][0]] == [
        ("chatbot", "Be brief."),
        ("user", "Who may marry?"),
    ]


def test_a_completion_model_gets_them_as_it_writes_them_out() -> None:
    model = Scripted(pieces=["x"], messages_to_prompt=lambda messages: "|".join(str(each.content) for each in messages))
    answer(model)
    assert model.seen[0][:3] == ("Be brief.|Who may marry?", True, {})
    plain = Scripted(pieces=["x"])
    answer(plain)
    assert plain.seen[0][0] == "system: Be brief.\nuser: Who may marry?\nassistant: "


@pytest.mark.parametrize(("own", "limit"), [(256, 512), (100, 100), (1000, 512)])
def test_the_limit_is_set_on_a_copy_and_a_smaller_choice_stays(own: int, limit: int) -> None:
    model = Scripted(max_new_tokens=own, chat_model=True)
    answer(model, 512)
    assert model.seen[0][1:] == ({}, limit)
    assert model.max_new_tokens == own


def test_the_mock_of_llama_index_writes_as_much_as_it_may() -> None:
    assert "".join(answer(MockLLM(), 4)) == "text text text text"
    assert "".join(answer(MockLLM(is_chat_model=True), 4)) == "text text text text"


def test_ollama_gets_the_limit_among_its_options() -> None:
    class Ollama(CustomLLM):
        additional_kwargs: dict[str, Any] = {"top_k": 1}  # noqa: RUF012

        @classmethod
        def class_name(cls) -> str:
            return "Ollama_llm"

        @property
        def metadata(self) -> LLMMetadata:
            return LLMMetadata()

        def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
            return CompletionResponse(text=str(self.additional_kwargs))

        def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
            raise NotImplementedError

    assert answer(Ollama()) == ["{'top_k': 1, 'num_predict': 32}"]
    assert answer(Ollama(additional_kwargs={"num_predict": 8})) == ["{'num_predict': 8}"]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RuntimeError("429: too many requests\nfor you\n"), "scripted-1 failed: 429: too many requests"),
        (KeyError(), "scripted-1 failed: KeyError"),
    ],
)
def test_a_failure_is_one_line_and_what_was_said_before_stays(error: Exception, says: str) -> None:
    pieces = LLMGenerator(Scripted(pieces=["Men ", error])).generate(MESSAGES, max_tokens=5)
    assert next(pieces) == "Men "
    with pytest.raises(ModelError) as caught:
        next(pieces)
    assert str(caught.value) == says


def test_the_model_stops_when_nobody_listens() -> None:
    model = Scripted(pieces=["a", "b", "c"])
    pieces = LLMGenerator(model).generate(MESSAGES, max_tokens=5)
    assert next(pieces) == "a"
    assert model.left == []
    pieces.close()  # type: ignore[attr-defined]
    assert model.left == ["closed"]


def test_tokens_are_counted_without_asking_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    import llama_index.core

    def fail(text: str) -> list[str]:
        raise AssertionError("this may be of another model")

    monkeypatch.setattr(llama_index.core, "global_tokenizer", fail)
    assert LLMGenerator(Scripted()).count_tokens(MESSAGES) == approximate_tokens(MESSAGES)
    assert LLMGenerator(Scripted(), tokenizer=str.split).count_tokens(MESSAGES) == 2 + 3 + 2 * 8


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="llm is 'llama3'"):
        LLMGenerator("llama3")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="context_tokens is 0"):
        LLMGenerator(Scripted(), context_tokens=0)


class Unreachable(Scripted):
    """Asks its server how long its context is, as Ollama does."""

    @property
    def metadata(self) -> LLMMetadata:
        raise ConnectionError("Failed to connect.\nIs it running?")


def test_a_server_that_is_not_there_is_one_line() -> None:
    with pytest.raises(ModelError) as caught:
        LLMGenerator(Unreachable())
    assert str(caught.value) == "custom_llm does not tell what it can do: Failed to connect."


def test_an_answerer_cites_what_the_model_names(tmp_path: Path, encoder: WordEncoder) -> None:
    with Index.create(tmp_path / "index", encoder) as index:
        index.add(
            [
                Document("rest", "Everyone has the right to rest.", language="en"),
                Document("marriage", "Men and women of full age may marry.", language="en"),
            ]
        )
        said: list[str] = []
        model = Scripted(pieces=["Men and ", "women [1]."], chat_model=True)
        answerer = Answerer(index, LLMGenerator(model), k=2, max_tokens=64, min_relevance=0)
        found = answerer.ask("Who may marry?", on_text=said.append)
    assert said == ["Men and ", "women [1]."]
    assert found.text == "Men and women [1]."
    assert [(cited.passage.hit.id, cited.marked) for cited in found.citations] == [("marriage", True)]
    assert found.generator == "scripted-1"
    assert "[1] (English)\nMen and women of full age may marry." in str(model.seen[0][0][1].content)
    assert model.seen[0][2] == 64


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> str:
    """A module llama_index.llms.scripted, as a package of LlamaIndex would bring it."""
    package, module = ModuleType("llama_index.llms"), ModuleType("llama_index.llms.scripted")
    package.__path__ = []
    for kind in (Scripted, Unreachable):
        setattr(module, kind.__name__, kind)
    module.Named = type("Named", (MockLLM,), {"__annotations__": {"model_name": str}})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "llama_index.llms", package)
    monkeypatch.setitem(sys.modules, "llama_index.llms.scripted", module)
    return "scripted"


def test_the_command_line_names_class_and_model(provider: str) -> None:
    generator = load_generator(f"llamaindex:{provider}.Scripted:llama3:8b", context_tokens=1000)
    assert isinstance(generator, LLMGenerator)
    assert (generator.name, generator.context_tokens) == ("llama3:8b", 1000)
    assert generator._llm.context_window == 1000
    assert load(f"{provider}.Scripted:llama3").context_tokens == 3900


@pytest.mark.parametrize(
    ("model", "kind", "says"),
    [
        ("llama3", InvalidArgumentError, "the language model is 'llama3'; give module.Class:MODEL"),
        ("Ollama:llama3", InvalidArgumentError, "give module.Class:MODEL"),
        ("../os.Scripted:x", InvalidArgumentError, "give module.Class:MODEL"),
        (
            "scripted.Other:x",
            InvalidArgumentError,
            "has no language model 'Other'; it has Named, Scripted, Unreachable",
        ),
        ("open_router.OpenRouter:x", MissingDependencyError, "pip install llama-index-llms-open-router"),
        ("scripted.Unreachable:x", ModelError, "does not tell what it can do: Failed to connect."),
        ("scripted.Named:x", ModelError, "cannot be set up: "),
    ],
)
def test_why_a_named_model_cannot_be_had(provider: str, model: str, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind) as caught:
        load(model)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
