"""A chat model of LangChain writes answers: what it is asked, what it says, how it fails."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, FakeListLLM
from langchain_core.language_models.fake_chat_models import (
    FakeListChatModel,
    FakeListChatModelError,
    FakeMessagesListChatModel,
    GenericFakeChatModel,
)
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableLambda
from langchain_fakes import WordEmbedder
from pydantic import BaseModel, Field

from langchain_lusirag import ChatModelGenerator
from langchain_lusirag.generator import load
from lusirag import Document, Index
from lusirag.errors import LusiragError, MissingDependencyError, ModelError
from lusirag.rag import Answerer, Generator, Message
from lusirag.rag.generator import approximate_tokens
from lusirag.rag.loading import load_generator

MESSAGES: list[Message] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Who may marry?"},
]


class Notebook(BaseChatModel):
    """A chat model in the manner of the providers': the longest answer is a field, and arguments are noted."""

    max_tokens: int | None = Field(default=None, alias="max_completion_tokens")
    num_ctx: int | None = None
    model: str = "notebook-1"
    seen: list[Any] = []  # noqa: RUF012

    @property
    def _llm_type(self) -> str:
        return "notebook"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.seen.append(([(message.type, message.text) for message in messages], self.max_tokens, kwargs))
        return ChatResult(generations=[ChatGeneration(message=AIMessage("Men and women [1]."))])


class Streaming(Notebook):
    """Sends pieces, and notes when nobody listens any more."""

    pieces: list[Any]
    left: list[str] = []  # noqa: RUF012

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        try:
            for piece in self.pieces:
                if isinstance(piece, Exception):
                    raise piece
                chunk = piece if isinstance(piece, AIMessageChunk) else AIMessageChunk(content=piece)
                yield ChatGenerationChunk(message=chunk)
        finally:
            self.left.append("closed")


def answer(model: Any, max_tokens: int = 32) -> list[str]:
    return list(ChatModelGenerator(model).generate(MESSAGES, max_tokens=max_tokens))


def test_it_is_a_generator_of_lusirag() -> None:
    generator = ChatModelGenerator(Notebook())
    assert isinstance(generator, Generator)
    assert (generator.name, generator.context_tokens) == ("notebook-1", 8192)
    assert ChatModelGenerator(FakeListChatModel(responses=["x"])).name == "FakeListChatModel"


def test_the_answer_comes_in_the_pieces_of_the_model() -> None:
    assert "".join(answer(FakeListChatModel(responses=["Men and women."]))) == "Men and women."
    assert len(answer(FakeListChatModel(responses=["Men and women."]))) > 1
    assert answer(GenericFakeChatModel(messages=iter([AIMessage("Men and women.")]))) == [
        "Men",
        " ",
        "and",
        " ",
        "women.",
    ]
    assert answer(FakeMessagesListChatModel(responses=[AIMessage("Not streamed.")])) == ["Not streamed."]


def test_the_messages_arrive_with_their_roles() -> None:
    model = Notebook()
    answer(model)
    assert model.seen[0][0] == [("system", "Be brief."), ("human", "Who may marry?")]


def test_of_content_blocks_the_text_alone_is_the_answer() -> None:
    pieces = [
        [{"type": "reasoning", "reasoning": "The user wants"}],
        [{"type": "text", "text": "Men and "}],
        AIMessageChunk(content="", additional_kwargs={"reasoning_content": "hm"}),
        [{"type": "text", "text": "women."}],
    ]
    assert answer(Streaming(pieces=pieces)) == ["Men and ", "women."]


@pytest.mark.parametrize(
    ("made", "asked", "limit"),
    [({}, 32, 32), ({"max_completion_tokens": 10}, 32, 10), ({"max_completion_tokens": 100}, 32, 32)],
)
def test_the_limit_is_set_on_a_copy_and_a_smaller_one_stays(made: dict[str, int], asked: int, limit: int) -> None:
    model = Notebook(**made)
    before = model.max_tokens
    answer(model, asked)
    assert model.seen[0][1:] == (limit, {})
    assert model.max_tokens == before


@pytest.mark.parametrize("field", ["max_tokens", "max_output_tokens", "max_new_tokens", "num_predict"])
def test_each_name_of_the_limit_is_known_and_a_default_is_no_choice(field: str) -> None:
    written: list[int] = []

    class Provider(FakeListChatModel):
        __annotations__ = {field: int}
        locals()[field] = 5

        def _call(self, *args: Any, **kwargs: Any) -> str:
            written.append(getattr(self, field))
            return super()._call(*args, **kwargs)

        _stream = BaseChatModel._stream

    answer(Provider(responses=["x"]))
    assert written == [32]


def test_what_is_bound_to_a_model_stays_bound() -> None:
    model = Notebook(num_ctx=4096)
    bound = model.bind(temperature=0).with_config(tags=["answers"])
    assert answer(bound) == ["Men and women [1]."]
    assert model.seen[0][1:] == (32, {"temperature": 0})
    assert (ChatModelGenerator(bound).name, ChatModelGenerator(bound).context_tokens) == ("notebook-1", 4096)


def test_other_runnables_write_too() -> None:
    assert answer(RunnableLambda(lambda messages: f"{len(messages)} messages")) == ["2 messages"]
    assert "".join(answer(FakeListLLM(responses=["An LLM."]))) == "An LLM."

    class Listed(RunnableLambda[Any, Any]):
        def stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
            return iter(["No ", "generator."])

    assert answer(Listed(str)) == ["No ", "generator."]
    with pytest.raises(ModelError, match="returned int"):
        answer(RunnableLambda(lambda messages: 7))


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RuntimeError("429: too many requests\nfor you\n"), "notebook-1 failed: 429: too many requests"),
        (KeyError(), "notebook-1 failed: KeyError"),
    ],
)
def test_a_failure_is_one_line_and_what_was_said_before_stays(error: Exception, says: str) -> None:
    pieces = ChatModelGenerator(Streaming(pieces=["Men ", error])).generate(MESSAGES, max_tokens=5)
    assert next(pieces) == "Men "
    with pytest.raises(ModelError) as caught:
        next(pieces)
    assert str(caught.value) == says
    assert caught.value.__cause__ is error


def test_langchains_own_failing_model_becomes_a_model_error() -> None:
    with pytest.raises(ModelError, match="FakeListChatModel failed: FakeListChatModelError") as caught:
        answer(FakeListChatModel(responses=["Men"], error_on_chunk_number=1))
    assert isinstance(caught.value.__cause__, FakeListChatModelError)


def test_the_model_stops_when_nobody_listens() -> None:
    model = Streaming(pieces=["a", "b", "c"])
    pieces = ChatModelGenerator(model).generate(MESSAGES, max_tokens=5)
    assert next(pieces) == "a"
    assert model.left == []
    pieces.close()  # type: ignore[attr-defined]
    assert model.left == ["closed"]


@pytest.mark.parametrize(
    "said", [{"finish_reason": "length"}, {"stop_reason": "max_tokens"}, {"finish_reason": "MAX_TOKENS"}]
)
def test_a_cut_answer_is_reported(said: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    answer(Streaming(pieces=["Men", AIMessageChunk(content="", response_metadata=said)]), 7)
    assert [record.message for record in caplog.records] == [
        "the answer was cut after 7 tokens; allow more with max_tokens"
    ]
    caplog.clear()
    answer(Streaming(pieces=["Men", AIMessageChunk(content="", response_metadata={"finish_reason": "stop"})]))
    assert caplog.records == []


def test_tokens_are_counted_without_asking_anybody() -> None:
    class Online(FakeListChatModel):
        def get_num_tokens_from_messages(self, *args: Any, **kwargs: Any) -> int:
            raise AssertionError("this asks a server")

        def get_token_ids(self, text: str) -> list[int]:
            raise AssertionError("this downloads a tokenizer")

    assert ChatModelGenerator(Online(responses=["x"])).count_tokens(MESSAGES) == approximate_tokens(MESSAGES)
    own = FakeListChatModel(responses=["x"], custom_get_token_ids=lambda text: list(range(len(text.split()))))
    assert ChatModelGenerator(own).count_tokens(MESSAGES) == 2 + 3 + 2 * 8


def test_the_context_is_what_the_model_says_of_itself() -> None:
    assert ChatModelGenerator(FakeListChatModel(responses=["x"], profile={"max_input_tokens": 99})).context_tokens == 99
    assert ChatModelGenerator(Notebook(num_ctx=2048)).context_tokens == 2048
    assert ChatModelGenerator(Notebook(num_ctx=2048), context_tokens=512).context_tokens == 512


def test_what_is_no_model_is_refused(message: Callable[..., str]) -> None:
    assert "chat_model is 'gpt-5'" in message(ChatModelGenerator, "gpt-5")
    assert "context_tokens is 0" in message(ChatModelGenerator, Notebook(), context_tokens=0)


def test_an_answerer_cites_what_the_model_names(tmp_path: Path) -> None:
    with Index.create(tmp_path / "index", WordEmbedder()) as index:
        index.add(
            [
                Document("rest", "Everyone has the right to rest.", language="en"),
                Document("marriage", "Men and women of full age may marry.", language="en"),
            ]
        )
        said: list[str] = []
        model = Notebook()
        answerer = Answerer(index, ChatModelGenerator(model), k=2, max_tokens=64, min_relevance=0)
        found = answerer.ask("Who may marry?", on_text=said.append)
        silent = Answerer(index, ChatModelGenerator(FakeListChatModel(responses=["NO ANSWER"])), min_relevance=0)
        assert not silent.ask("Who may marry?").answered
    assert found.text == "".join(said) == "Men and women [1]."
    assert [(cited.passage.hit.id, cited.marked) for cited in found.citations] == [("marriage", True)]
    assert found.generator == "notebook-1"
    asked, limit, _ = model.seen[0]
    assert limit == 64
    assert "[1] (English)\nMen and women of full age may marry." in asked[1][1]


@pytest.fixture
def langchain(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], Any]], None]:
    """Puts a function in the place of `langchain.chat_models.init_chat_model`."""

    def install(init_chat_model: Callable[[str], Any]) -> None:
        package, module = ModuleType("langchain"), ModuleType("langchain.chat_models")
        package.__path__ = []
        module.init_chat_model = init_chat_model  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "langchain", package)
        monkeypatch.setitem(sys.modules, "langchain.chat_models", module)

    return install


def test_the_command_line_names_provider_and_model(langchain: Callable[..., None]) -> None:
    asked = []

    def init_chat_model(model: str) -> BaseChatModel:
        asked.append(model)
        return Notebook()

    langchain(init_chat_model)
    generator = load_generator("langchain:openai:gpt-5-mini", context_tokens=100)
    assert isinstance(generator, ChatModelGenerator)
    assert (asked, generator.name, generator.context_tokens) == (["openai:gpt-5-mini"], "notebook-1", 100)


class Settings(BaseModel):
    api_key: str


@pytest.mark.parametrize(
    ("failure", "kind", "says"),
    [
        (lambda _: (_ for _ in ()).throw(ImportError("run `pip install -U langchain-openai`")), MissingDependencyError,
         "needs another package: run `pip install -U langchain-openai`"),
        (lambda _: (_ for _ in ()).throw(ValueError("Unsupported provider 'x'.\nmore")), LusiragError,
         "give PROVIDER:MODEL, such as openai:gpt-5-mini (Unsupported provider 'x'.)"),
        (lambda _: Settings(), ModelError, "cannot be set up: Field required"),
        (lambda _: {}["key"], ModelError, "cannot be set up: 'key'"),
    ],
)  # fmt: skip
def test_why_a_named_model_cannot_be_had(
    langchain: Callable[..., None], failure: Callable[[str], Any], kind: type[Exception], says: str
) -> None:
    langchain(failure)
    with pytest.raises(kind) as caught:
        load("x:y")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_langchain_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain", None)
    monkeypatch.delitem(sys.modules, "langchain.chat_models", raising=False)
    with pytest.raises(MissingDependencyError, match="pip install langchain langchain-openai"):
        load("openai:gpt-5-mini")


def test_without_langchain_core_the_error_names_the_extra() -> None:
    script = "import sys; sys.modules['langchain_core'] = None; import langchain_lusirag"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith('Run: pip install "lusirag[langchain]"')
