"""Any server that speaks OpenAI's chat completions: OpenAI, vLLM, llama.cpp, Ollama, LM Studio and most others."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

from lusirag.errors import InvalidArgumentError, MissingDependencyError, ModelError
from lusirag.rag.generator import Message, approximate_tokens

logger = logging.getLogger(__name__)

_LONGEST_REASON = 300  # characters

# Parameters of a request that some models refuse, and what to send in their place (nothing for None).
_OTHER_NAMES = {"max_tokens": "max_completion_tokens", "temperature": None}


class OpenAIGenerator:
    """A chat model behind an OpenAI-compatible endpoint.

    Args:
        model: as the endpoint names it, such as "gpt-5-mini".
        base_url: of the endpoint, such as "http://localhost:11434/v1"; OPENAI_BASE_URL, or else OpenAI's, when None.
        api_key: OPENAI_API_KEY when None; a local server needs none.
        context_tokens: how long prompt and answer may be together. The protocol does not tell, nor does it count
            tokens: prompts are estimated, rather too long than too short.
        temperature: 0 for the likeliest words; left out for models that do not take it.
        timeout: seconds without a sign of life after which a request fails.
        max_retries: how often a request is sent again after an overload or a lost connection.

    Raises:
        MissingDependencyError: the package openai is not installed.
        InvalidArgumentError: no API key for an endpoint that is not given, or a number out of range.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        context_tokens: int = 8192,
        temperature: float = 0.0,
        timeout: float = 120.0,
        max_retries: int = 2,
    ) -> None:
        if context_tokens < 1 or timeout <= 0 or max_retries < 0 or temperature < 0:
            raise InvalidArgumentError(
                f"context_tokens is {context_tokens}, temperature {temperature}, timeout {timeout}, max_retries "
                f"{max_retries}; the first and third must be above 0, the others not below"
            )
        self.name = model
        self.context_tokens = context_tokens
        self._model = model
        self._parameters: dict[str, Any] = {"temperature": temperature, "max_tokens": None}
        self._client = _client(base_url, api_key, timeout=timeout, max_retries=max_retries)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """An upper estimate, from the bytes of the text."""
        return approximate_tokens(messages)

    def generate(self, messages: Sequence[Message], *, max_tokens: int) -> Iterator[str]:
        """Yield the answer as it comes.

        Raises:
            ModelError: the endpoint cannot be reached, or refuses.
        """
        import openai

        ended: str | None = None
        try:
            with self._stream(list(messages), max_tokens) as stream:
                for chunk in stream:
                    for choice in (chunk.choices or [])[:1]:
                        if choice.delta is not None and choice.delta.content:
                            yield choice.delta.content
                        ended = choice.finish_reason or ended
        except openai.APIError as error:
            raise ModelError(f"{self.name} at {self._client.base_url}: {_in_words(error)}") from error
        except json.JSONDecodeError as error:
            raise ModelError(
                f"{self.name} at {self._client.base_url}: does not speak chat completions ({_first_line(error)}); "
                "is the address right?"
            ) from error
        if ended == "length":
            logger.warning("the answer was cut after %d tokens; allow more with max_tokens", max_tokens)
        elif ended == "content_filter":
            logger.warning("the answer was cut by the content filter of %s", self._client.base_url)
        elif ended is None:
            logger.warning("%s ended without saying so: the answer may lack its end", self._client.base_url)

    def _stream(self, messages: list[Message], max_tokens: int) -> Any:
        """Send the request; where the model refuses a parameter by name, send it without, now and from now on."""
        import openai

        while True:
            parameters = self._parameters  # NOTE: another thread may put others in its place, so never changed
            sent = {name: max_tokens if value is None else value for name, value in parameters.items()}
            try:
                return self._client.chat.completions.create(model=self._model, messages=messages, stream=True, **sent)
            except openai.BadRequestError as error:
                refused = next((name for name in parameters if name in _OTHER_NAMES and _names(error, name)), None)
                if refused is None:
                    raise
                left = {name: value for name, value in parameters.items() if name != refused}
                other = _OTHER_NAMES[refused]
                self._parameters = left if other is None else left | {other: parameters[refused]}
                logger.info("%s takes no %s; sent %s", self.name, refused, f"as {other}" if other else "without")


def _client(base_url: str | None, api_key: str | None, **options: Any) -> Any:
    try:
        import openai
    except ImportError as error:
        raise MissingDependencyError(
            'an OpenAI-compatible endpoint needs the package openai. Run: pip install "lusirag[openai]"'
        ) from error
    if api_key is None and (base_url is not None or os.environ.get("OPENAI_BASE_URL")):
        api_key = os.environ.get("OPENAI_API_KEY") or "none"
    try:
        return openai.OpenAI(base_url=base_url, api_key=api_key, **options)
    except openai.OpenAIError as error:
        raise InvalidArgumentError(
            "there is no API key: set OPENAI_API_KEY, or give base_url (--base-url), the address of a server of yours"
        ) from error
    except Exception as error:  # of the HTTP library, which is another one for each version of openai
        raise InvalidArgumentError(
            f"base_url is {base_url!r} ({_first_line(error)}); it must be an address such as http://localhost:11434/v1"
        ) from error


def _names(error: Any, parameter: str) -> bool:
    """True when an error says that this parameter is to blame."""
    return getattr(error, "param", None) == parameter or f"'{parameter}'" in str(error)


def _in_words(error: Any) -> str:
    import openai

    if isinstance(error, openai.APITimeoutError):
        return "gave no sign of life in time; raise the timeout, or ask for fewer tokens"
    if isinstance(error, openai.APIConnectionError):
        return f"cannot be reached ({error.__cause__ or error}); is the server running, and the address right?"
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        return "refuses the API key; set OPENAI_API_KEY to one that is valid here"
    if isinstance(error, openai.NotFoundError):
        return f"no such model or address ({_first_line(error)})"
    if isinstance(error, openai.RateLimitError):
        return f"too many requests, or no credit left ({_first_line(error)})"
    if isinstance(error, openai.InternalServerError):
        return f"the server failed ({_first_line(error)}); try again later"
    return _first_line(error)


def _first_line(error: Exception) -> str:
    """What the endpoint says, without the JSON around it."""
    body = getattr(error, "body", None)
    said = body.get("message") if isinstance(body, dict) else None
    return (str(said or error).strip().splitlines() or [type(error).__name__])[0][:_LONGEST_REASON]
