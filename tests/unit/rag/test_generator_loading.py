"""Generators by name: what each kind takes, and kinds that other packages bring."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from lusirag.errors import InvalidArgumentError, MissingDependencyError
from lusirag.rag import CausalLMGenerator, OpenAIGenerator, loading
from lusirag.rag.loading import load_generator
from tests.unit.rag.tiny_language_model import write_language_model
from tests.unit.rag.toy import Scripted


def make_scripted(model: str, context_tokens: int = 5) -> Scripted:
    return Scripted(model, context_tokens=context_tokens)


def make_missing(model: str) -> Scripted:
    raise MissingDependencyError('Run: pip install "lusirag[other]"')


@pytest.fixture(autouse=True)
def _brought(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kinds of another package."""
    here = "tests.unit.rag.test_generator_loading"
    found = [
        EntryPoint("scripted", f"{here}:make_scripted", "lusirag.generators"),
        EntryPoint("unnamed", f"{here}:nothing", "lusirag.generators"),
        EntryPoint("broken", "no_such_package.generator:load", "lusirag.generators"),
        EntryPoint("uninstalled", f"{here}:make_missing", "lusirag.generators"),
    ]
    monkeypatch.setattr(loading, "entry_points", lambda group: found if group == "lusirag.generators" else [])


def test_own_kinds(tmp_path: Path) -> None:
    remote = load_generator("openai:org/model:8b", base_url="http://127.0.0.1:1/v1", context_tokens=77)
    assert isinstance(remote, OpenAIGenerator)
    assert (remote.name, remote.context_tokens) == ("org/model:8b", 77)
    directory = write_language_model(tmp_path)
    local = load_generator(f"transformers:{directory}", device="cpu", dtype="float32", context_tokens=99)
    assert isinstance(local, CausalLMGenerator)
    assert (local.name, local.context_tokens) == (str(directory), 99)


def test_kinds_of_other_packages() -> None:
    found = load_generator("scripted:a:b", context_tokens=9)
    assert isinstance(found, Scripted)
    assert (found.pieces, found.context_tokens) == (("a:b",), 9)
    assert load_generator("scripted:x").context_tokens == 5


@pytest.mark.parametrize("kind", ["broken", "unnamed"])
def test_kinds_that_cannot_be_loaded(kind: str) -> None:
    with pytest.raises(MissingDependencyError, match=f"kind '{kind}' cannot be loaded .*; install what"):
        load_generator(f"{kind}:x")


def test_kinds_that_say_themselves_what_they_lack() -> None:
    with pytest.raises(MissingDependencyError, match=r'^Run: pip install "lusirag\[other\]"$'):
        load_generator("uninstalled:x")


@pytest.mark.parametrize("spec", ["", "openai", "openai:", ":x", "gpt-5-mini", "OpenAI:x", "telepathy:x"])
def test_no_such_kind(spec: str) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        load_generator(spec)
    assert str(raised.value) == (
        f"the generator is {spec!r}; allowed: openai:..., transformers:..., broken:..., scripted:..., "
        "uninstalled:..., unnamed:..., such as openai:gpt-5-mini"
    )


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("openai:m", {"device": "cpu"}, "'openai' takes no device; it takes base_url, context_tokens"),
        ("transformers:m", {"base_url": "x"}, "'transformers' takes no base_url; it takes context_tokens, device, dty"),
        ("scripted:m", {"base_url": "x", "dtype": "y"}, "'scripted' takes no base_url and no dtype; it takes context"),
        ("openai:m", {"base_url": "http://127.0.0.1:1", "context_tokens": 0}, "context_tokens is 0"),
    ],
)
def test_options_that_a_kind_does_not_take(spec: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        load_generator(spec, **options)
    assert message in str(raised.value)
