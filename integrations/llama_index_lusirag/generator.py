"""`LLMGenerator`: a language model of LlamaIndex writes the answers of `lusirag.rag.Answerer`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, cast

from llama_index.core.base.llms.types import ChatMessage, LLMMetadata, MessageRole
from llama_index.core.llms import LLM
from pydantic import ValidationError

from lusirag.errors import InvalidArgumentError, LusiragError, MissingDependencyError, ModelError
from lusirag.rag.generator import Message, approximate_tokens

# What the models of LlamaIndex call the longest answer, as fields of theirs.
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens", "num_predict")
_TOKENS_A_MESSAGE = 8


class LLMGenerator:
    """A language model of LlamaIndex as a generator, a chat model or one that completes text.

    The longest answer is set on a copy of the model, in the field that its class has for it (max_tokens, ...), where a
    smaller limit of its own stays; a model without such a field writes as long as it is made to.

    Args:
        llm: any `llama_index.core.llms.LLM`.
        context_tokens: how long prompt and answer may be together; the `context_window` of its metadata when None.
        tokenizer: a function from a text to its tokens, as `Settings.tokenizer` takes it, for counting; prompts are
            estimated, rather too long than too short, when None. NOTE: never LlamaIndex's own default, which it
            downloads, and which counts for another model.

    Raises:
        InvalidArgumentError: no LLM, or context_tokens below 1.
        ModelError: its metadata cannot be read, as when they are asked of a server that is not there.
    """

    def __init__(
        self,
        llm: LLM,
        *,
        context_tokens: int | None = None,
        tokenizer: Callable[[str], Sequence[Any]] | None = None,
    ) -> None:
        if not isinstance(llm, LLM):
            raise InvalidArgumentError(
                f"llm is {llm!r}; give a language model of LlamaIndex, such as "
                "llama_index.llms.ollama.Ollama(model=...)"
            )
        if context_tokens is not None and context_tokens < 1:
            raise InvalidArgumentError(f"context_tokens is {context_tokens}; it must be at least 1")
        self._llm = llm
        self._tokenizer = tokenizer
        metadata = _metadata(llm)
        self.name = llm.class_name() if metadata.model_name in ("", "unknown") else metadata.model_name
        self.context_tokens = context_tokens or metadata.context_window
        self._is_chat_model, self._system_role = metadata.is_chat_model, metadata.system_role

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """By the tokenizer that was given, else an upper estimate from the bytes."""
        if self._tokenizer is None:
            return approximate_tokens(messages)
        return sum(len(self._tokenizer(message["content"])) + _TOKENS_A_MESSAGE for message in messages)

    def generate(self, messages: Sequence[Message], *, max_tokens: int) -> Iterator[str]:
        """Yield the text of the answer as it comes, or at once where the model cannot stream.

        Raises:
            ModelError: the model failed.
        """
        chat = [ChatMessage(role=self._role(message), content=message["content"]) for message in messages]
        try:
            yield from _answer(_limited(self._llm, max_tokens), chat, is_chat_model=self._is_chat_model)
        except LusiragError:
            raise
        except Exception as error:  # each provider has its own
            raise ModelError(f"{self.name} failed: {_in_words(error)}") from error

    def _role(self, message: Message) -> MessageRole:
        return self._system_role if message["role"] == "system" else MessageRole(message["role"])


def load(model: str, *, context_tokens: int | None = None) -> LLMGenerator:
    """A language model by name, for `--generator llamaindex:CLASS:MODEL`.

    Args:
        model: the class as it stands below llama_index.llms, and the model's name: "ollama.Ollama:llama3.2" is
            `llama_index.llms.ollama.Ollama(model="llama3.2")`.
        context_tokens: as of `LLMGenerator`; the model is set to it too, where it can be.

    Raises:
        InvalidArgumentError: there is no such class.
        MissingDependencyError: the package of this class is not installed.
        ModelError: the model cannot be set up, as for lack of an API key.
    """
    found = re.fullmatch(r"(\w+(?:\.\w+)*)\.(\w+):(.+)", model)
    if found is None:
        raise InvalidArgumentError(
            f"the language model is {model!r}; give module.Class:MODEL below llama_index.llms, such as "
            "ollama.Ollama:llama3.2 or openai.OpenAI:gpt-5-mini"
        )
    kind = _class(_module(found[1]), found[2])
    given: dict[str, Any] = {"model" if "model" in kind.model_fields else "model_name": found[3]}
    if context_tokens is not None and "context_window" in kind.model_fields:
        given["context_window"] = context_tokens
    try:
        return LLMGenerator(kind(**given), context_tokens=context_tokens)
    except LusiragError:
        raise
    except Exception as error:  # each provider has its own
        raise ModelError(f"the language model {model!r} cannot be set up: {_in_words(error)}") from error


def _module(name: str) -> ModuleType:
    try:
        return import_module(f"llama_index.llms.{name}")
    except ImportError as error:
        package = f"llama-index-llms-{name.partition('.')[0].replace('_', '-')}"
        raise MissingDependencyError(
            f"llama_index.llms.{name} cannot be imported ({_in_words(error)}). Run: pip install {package}"
        ) from error


def _class(module: ModuleType, name: str) -> type[LLM]:
    models = {key: value for key, value in vars(module).items() if isinstance(value, type) and issubclass(value, LLM)}
    if name not in models:
        raise InvalidArgumentError(
            f"{module.__name__} has no language model {name!r}; it has {', '.join(sorted(models)) or 'none'}"
        )
    return models[name]


def _metadata(llm: LLM) -> LLMMetadata:
    try:
        return llm.metadata
    except Exception as error:  # each provider has its own
        raise ModelError(f"{llm.class_name()} does not tell what it can do: {_in_words(error)}") from error


def _limited(llm: LLM, max_tokens: int) -> LLM:
    """A copy that writes no more than so many tokens; the model itself where there is no telling how."""
    fields = type(llm).model_fields
    field = next((name for name in _LIMITS if name in fields), None)
    if field is not None:
        own = getattr(llm, field)
        chosen = isinstance(own, int) and own > 0 and own != fields[field].default
        return llm.model_copy(update={field: min(own, max_tokens) if chosen else max_tokens})
    if llm.class_name() == "Ollama_llm":  # which has no field for it, and hands these on to the server
        extra = cast("Any", llm).additional_kwargs
        own = extra.get("num_predict", -1)
        limit = {"num_predict": min(own, max_tokens) if own > 0 else max_tokens}
        return llm.model_copy(update={"additional_kwargs": extra | limit})
    return llm


def _answer(llm: LLM, chat: Sequence[ChatMessage], *, is_chat_model: bool) -> Iterator[str]:
    """Stream where the model can; the reasoning that some send beside the answer is no part of it."""
    prompt = "" if is_chat_model else cast("Any", llm).messages_to_prompt(chat)
    responses: Any = None
    written = ""
    try:
        responses = llm.stream_chat(chat) if is_chat_model else llm.stream_complete(prompt, formatted=True)
        for response in responses:
            # Some say what is new, others repeat all there is.
            piece = _whole(response)[len(written) :] if response.delta is None else response.delta
            written += piece
            if piece:
                yield piece
    except NotImplementedError:
        yield _whole(llm.chat(chat) if is_chat_model else llm.complete(prompt, formatted=True))
    finally:
        if hasattr(responses, "close"):  # the caller may have stopped listening: the model stops too
            responses.close()


def _whole(response: Any) -> str:
    text = response.message.content if hasattr(response, "message") else response.text
    return text or ""


def _in_words(error: Exception) -> str:
    """One line; of pydantic's several, what is wrong."""
    if isinstance(error, ValidationError):
        return "; ".join(fault["msg"] for fault in error.errors())
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
