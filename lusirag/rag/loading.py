"""A generator by name, as the command line takes it: "<kind>:<model>"."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from lusirag.errors import InvalidArgumentError, MissingDependencyError
from lusirag.rag.causal_lm import CausalLMGenerator
from lusirag.rag.generator import Generator
from lusirag.rag.openai_generator import OpenAIGenerator

# What of the options below each kind takes.
_OWN: dict[str, tuple[Callable[..., Generator], frozenset[str]]] = {
    "openai": (OpenAIGenerator, frozenset({"base_url", "context_tokens"})),
    "transformers": (CausalLMGenerator, frozenset({"device", "dtype", "context_tokens"})),
}
_GROUP = "lusirag.generators"


def load_generator(
    spec: str,
    *,
    base_url: str | None = None,
    context_tokens: int | None = None,
    device: str | None = None,
    dtype: str | None = None,
) -> Generator:
    """Load a language model.

    Args:
        spec: "openai:<model>" for any OpenAI-compatible endpoint, "transformers:<directory or hub id>", or a kind that
            another package brings under the entry points "lusirag.generators": a function of the text after the colon
            and of context_tokens. langchain_lusirag brings "langchain", llama_index_lusirag "llamaindex".
        base_url: of the endpoint. context_tokens: of prompt and answer. device, dtype: of the model's weights. The
            kind's own choice when None.

    Raises:
        InvalidArgumentError: no such kind, or an option that it does not take.
        ModelError: the model cannot be loaded.
        MissingDependencyError: the package that runs it is not installed.
    """
    kind, _, model = spec.partition(":")
    others = {found.name: found for found in entry_points(group=_GROUP)}
    if not model or kind not in _OWN | others:
        kinds = ", ".join(f"{name}:..." for name in [*_OWN, *sorted(others)])
        raise InvalidArgumentError(f"the generator is {spec!r}; allowed: {kinds}, such as openai:gpt-5-mini")
    make, takes = _OWN[kind] if kind in _OWN else (_brought(others[kind]), frozenset({"context_tokens"}))
    given: dict[str, Any] = {
        "base_url": base_url, "context_tokens": context_tokens, "device": device, "dtype": dtype
    }  # fmt: skip
    given = {name: value for name, value in given.items() if value is not None}
    if unknown := [name for name in given if name not in takes]:
        raise InvalidArgumentError(
            f"a generator of the kind {kind!r} takes no {' and no '.join(unknown)}; it takes {', '.join(sorted(takes))}"
        )
    return make(model, **given)


def _brought(found: EntryPoint) -> Callable[..., Generator]:
    try:
        make: Callable[..., Generator] = found.load()
    except MissingDependencyError:
        raise
    except (ImportError, AttributeError) as error:
        raise MissingDependencyError(
            f"generators of the kind {found.name!r} cannot be loaded ({error}); install what {found.module} needs"
        ) from error
    return make
