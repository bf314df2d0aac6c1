"""`ChatModelGenerator`: a chat model of LangChain writes the answers of `lusirag.rag.Answerer`."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from langchain_core.language_models import BaseLanguageModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable
from langchain_core.runnables.base import RunnableBindingBase
from pydantic import ValidationError

from lusirag.errors import InvalidArgumentError, LusiragError, MissingDependencyError, ModelError
from lusirag.rag.generator import Message, approximate_tokens

logger = logging.getLogger(__name__)

# What the models of LangChain call the longest answer, and the room for prompt and answer, as fields of theirs.
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens", "num_predict")
_CONTEXTS = ("num_ctx", "n_ctx")
_CONTEXT_TOKENS = 8192
_TOKENS_A_MESSAGE = 8
# How providers say that an answer was cut.
_ENDINGS = ("finish_reason", "stop_reason", "done_reason")
_CUT = frozenset({"length", "max_tokens", "max_output_tokens"})


class ChatModelGenerator:
    """A chat model of LangChain as a generator.

    The longest answer is set on a copy of the model, in the field that its class has for it (max_tokens, num_predict,
    ...), where a smaller limit of its own stays. NOTE: not as an argument of the call, which some models hand on to
    clients that refuse it. A model without such a field writes as long as it is made to.

    Args:
        chat_model: any `BaseChatModel`, also with arguments bound to it; an LLM or another runnable that takes
            messages and returns a message or text.
        context_tokens: how long prompt and answer may be together; when None what the model says of itself (num_ctx,
            n_ctx, its profile), else 8192.

    Raises:
        InvalidArgumentError: no runnable, or context_tokens below 1.
    """

    def __init__(self, chat_model: Runnable[Any, Any], *, context_tokens: int | None = None) -> None:
        if not isinstance(chat_model, Runnable):
            raise InvalidArgumentError(
                f"chat_model is {chat_model!r}; give a chat model of LangChain, such as "
                "langchain_openai.ChatOpenAI(model=...)"
            )
        if context_tokens is not None and context_tokens < 1:
            raise InvalidArgumentError(f"context_tokens is {context_tokens}; it must be at least 1")
        self._model = chat_model
        inner = _unbound(chat_model)
        self.name = _name(inner)
        self.context_tokens = context_tokens or _context(inner)
        self._token_ids = inner.custom_get_token_ids if isinstance(inner, BaseLanguageModel) else None

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """By the model's `custom_get_token_ids` where it was given one, else an upper estimate from the bytes.

        NOTE: never by the model's own get_num_tokens: it downloads a tokenizer, or asks the provider, in most classes.
        """
        if self._token_ids is None:
            return approximate_tokens(messages)
        return sum(len(self._token_ids(message["content"])) + _TOKENS_A_MESSAGE for message in messages)

    def generate(self, messages: Sequence[Message], *, max_tokens: int) -> Iterator[str]:
        """Yield the text of the answer as it comes, without the reasoning that some models send beside it.

        Raises:
            ModelError: the model failed.
        """
        model = _limited(self._model, max_tokens)
        chunks: Any = None
        try:
            chunks = model.stream([dict(message) for message in messages])
            for chunk in chunks:
                if text := _text(chunk):
                    yield text
                if _was_cut(chunk):
                    logger.warning("the answer was cut after %d tokens; allow more with max_tokens", max_tokens)
        except LusiragError:
            raise
        except Exception as error:  # each provider has its own
            raise ModelError(f"{self.name} failed: {_in_words(error)}") from error
        finally:
            if hasattr(chunks, "close"):  # the caller may have stopped listening: the model stops too
                chunks.close()


def load(model: str, *, context_tokens: int | None = None) -> ChatModelGenerator:
    """A chat model by name, for `--generator langchain:PROVIDER:MODEL`.

    Args:
        model: as `langchain.chat_models.init_chat_model` takes it, such as "openai:gpt-5-mini" or "ollama:llama3.2".
        context_tokens: as of `ChatModelGenerator`.

    Raises:
        MissingDependencyError: langchain, or its package for this provider, is not installed.
        InvalidArgumentError: there is no such provider.
        ModelError: the model cannot be set up, as for lack of an API key.
    """
    try:
        init_chat_model = import_module("langchain.chat_models").init_chat_model
    except ImportError as error:
        raise MissingDependencyError(
            "a chat model by name needs the package langchain and that of its provider. Run: pip install langchain "
            "langchain-openai (or langchain-ollama, langchain-anthropic, ...)"
        ) from error
    try:
        return ChatModelGenerator(init_chat_model(model), context_tokens=context_tokens)
    except ImportError as error:
        raise MissingDependencyError(f"the chat model {model!r} needs another package: {_in_words(error)}") from error
    except LusiragError:
        raise
    except ValueError as error:
        if isinstance(error, ValidationError):
            raise ModelError(f"the chat model {model!r} cannot be set up: {_in_words(error)}") from error
        raise InvalidArgumentError(
            f"the chat model is {model!r}; give PROVIDER:MODEL, such as openai:gpt-5-mini ({_in_words(error)})"
        ) from error
    except Exception as error:  # each provider has its own
        raise ModelError(f"the chat model {model!r} cannot be set up: {_in_words(error)}") from error


def _unbound(model: Runnable[Any, Any]) -> Runnable[Any, Any]:
    """The model itself, without what `bind` and `with_config` put around it."""
    while isinstance(model, RunnableBindingBase):
        model = model.bound
    return model


def _limited(model: Runnable[Any, Any], max_tokens: int) -> Runnable[Any, Any]:
    """A copy that writes no more than so many tokens; the model itself where there is no telling how."""
    if isinstance(model, RunnableBindingBase):
        return model.model_copy(update={"bound": _limited(model.bound, max_tokens)})
    if not isinstance(model, BaseLanguageModel):
        return model
    fields = type(model).model_fields
    field = next((name for name in _LIMITS if name in fields), None)
    if field is None:
        return model
    own = getattr(model, field)
    chosen = isinstance(own, int) and own > 0 and own != fields[field].default
    return model.model_copy(update={field: min(own, max_tokens) if chosen else max_tokens})


def _name(model: Runnable[Any, Any]) -> str:
    named = (getattr(model, name, None) for name in ("model_name", "model", "model_id"))
    return next((name for name in named if isinstance(name, str) and name), type(model).__name__)


def _context(model: Runnable[Any, Any]) -> int:
    said = [getattr(model, name, None) for name in _CONTEXTS]
    said.append((getattr(model, "profile", None) or {}).get("max_input_tokens"))
    return next((tokens for tokens in said if isinstance(tokens, int) and tokens > 0), _CONTEXT_TOKENS)


def _text(chunk: Any) -> str:
    if isinstance(chunk, BaseMessage):
        return str(chunk.text)
    if isinstance(chunk, str):
        return chunk
    raise ModelError(f"the chat model returned {type(chunk).__name__}; a message or a text was expected")


def _was_cut(chunk: Any) -> bool:
    said = getattr(chunk, "response_metadata", None) or {}
    return any(str(said.get(name)).lower() in _CUT for name in _ENDINGS)


def _in_words(error: Exception) -> str:
    """One line; of pydantic's several, what is wrong."""
    if isinstance(error, ValidationError):
        return "; ".join(fault["msg"] for fault in error.errors())
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
