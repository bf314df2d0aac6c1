"""`CausalLMGenerator` with tiny random models: the real transformers, tokenizers and threads."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BertConfig, BertModel

from lusirag.errors import InvalidArgumentError, ModelError
from lusirag.rag import CausalLMGenerator, Generator, Message
from lusirag.rag.causal_lm import _drawing
from tests.cross_encoder import write_cross_encoder
from tests.unit.rag.tiny_language_model import NO_SYSTEM, THINKING, write_language_model, write_tokenizer

MESSAGES: list[Message] = [{"role": "system", "content": "w10 w11"}, {"role": "user", "content": "w12 w13 w14"}]
PROMPT = "<s>w1 w10 w11 w2 w12 w13 w14 w3 "


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chat model that never ends."""
    return write_language_model(tmp_path_factory.mktemp("chat"))


@pytest.fixture(scope="session")
def generator(directory: Path) -> CausalLMGenerator:
    return CausalLMGenerator(directory, device="cpu")


def said(generator: CausalLMGenerator, max_tokens: int = 12, messages: Sequence[Message] = MESSAGES) -> str:
    return "".join(generator.generate(messages, max_tokens=max_tokens))


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "lusirag-generate"]


def likeliest(directory: Path, tokens: list[int], count: int) -> str:
    """What the model says next, by a loop over plain forward passes."""
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    found = list(tokens)
    with torch.no_grad():
        for _ in range(count):
            found.append(int(model(torch.tensor([found])).logits[0, -1].argmax()))
    return str(AutoTokenizer.from_pretrained(directory).decode(found[len(tokens) :], skip_special_tokens=True))


def test_a_prompt_that_leaves_no_room_for_the_answer_is_refused(generator: CausalLMGenerator) -> None:
    assert said(generator, max_tokens=247)
    with pytest.raises(InvalidArgumentError, match=r"the prompt has 9 tokens, and .* takes 256 with the answer"):
        said(generator, max_tokens=248)


def test_it_says_what_is_likeliest_after_the_chat(directory: Path, generator: CausalLMGenerator) -> None:
    assert isinstance(generator, Generator)
    assert (generator.name, generator.context_tokens) == (str(directory), 256)
    tokens = [0, *(4 + number for number in (1, 10, 11, 2, 12, 13, 14, 3))]
    assert generator.count_tokens(MESSAGES) == len(tokens)
    assert said(generator) == likeliest(directory, tokens, 12)
    assert said(generator) == said(generator)
    assert said(generator, 5) == likeliest(directory, tokens, 5)


def test_a_model_without_a_chat_template_gets_plain_text_with_its_first_token(tmp_path: Path) -> None:
    directory = write_language_model(tmp_path, template=None)
    generator = CausalLMGenerator(directory, device="cpu")
    tokens = [0, *(4 + number for number in (10, 11, 12, 13, 14)), 3]  # "Answer:" is unknown to it
    assert generator.count_tokens(MESSAGES) == len(tokens)
    assert said(generator) == likeliest(directory, tokens, 12)


def test_a_template_that_knows_no_system_message_gets_one_message(tmp_path: Path) -> None:
    directory = write_language_model(tmp_path, template=NO_SYSTEM)
    generator = CausalLMGenerator(directory, device="cpu")
    tokens = [0, *(4 + number for number in (2, 10, 11, 12, 13, 14, 3))]
    assert generator.count_tokens(MESSAGES) == len(tokens)
    assert said(generator) == likeliest(directory, tokens, 12)
    write_tokenizer(directory, "{{ raise_exception('broken\nfor good') }}")
    with pytest.raises(ModelError, match=r"chat template of .* cannot be filled") as raised:
        said(CausalLMGenerator(directory, device="cpu"))
    assert "\n" not in str(raised.value)


def test_thinking_that_the_prompt_begins_is_marked(tmp_path: Path, generator: CausalLMGenerator) -> None:
    thinking = CausalLMGenerator(write_language_model(tmp_path, template=THINKING), device="cpu")
    assert next(thinking.generate(MESSAGES, max_tokens=3)) == "<think>"
    assert "<think>" not in said(generator)


def test_drawing_is_by_seed_and_temperature(directory: Path) -> None:
    def drawn(**options: Any) -> str:
        return said(CausalLMGenerator(directory, device="cpu", **options), 20)

    assert drawn(temperature=1.0, seed=1) == drawn(temperature=1.0, seed=1)
    assert drawn(temperature=1.0, seed=1) != drawn(temperature=1.0, seed=2)
    assert drawn(temperature=1e-4, seed=1) == drawn()
    assert drawn(temperature=1.0, seed=1) != drawn()
    assert drawn(repetition_penalty=5.0) != drawn()


def test_a_question_asked_twice_is_answered_alike(directory: Path) -> None:
    generator = CausalLMGenerator(directory, device="cpu", temperature=2.0)
    assert said(generator) == said(generator)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_are_drawn_as_often_as_they_are_likely(temperature: float) -> None:
    scores = torch.tensor([[2.0, 1.0, 0.0, -1.0, -torch.inf]])
    draw = _drawing(temperature, 3, torch.device("cpu"))
    counts = Counter(int(draw(None, scores).argmax()) for _ in range(4000))
    expected = torch.softmax(scores[0] / temperature, 0).numpy()
    found = np.array([counts[token] / 4000 for token in range(5)])
    assert found == pytest.approx(expected, abs=4 * 0.5 / 4000**0.5)
    assert counts[4] == 0


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_random_numbers_of_the_caller_are_its_own(directory: Path, temperature: float) -> None:
    generator = CausalLMGenerator(directory, device="cpu", temperature=temperature)
    torch.manual_seed(8)
    expected = [float(torch.rand(1)) for _ in range(30)]
    torch.manual_seed(8)
    pieces = generator.generate(MESSAGES, max_tokens=29)
    found = [float(torch.rand(1)) for _ in pieces]
    found += [float(torch.rand(1)) for _ in range(30 - len(found))]
    assert found == expected
    torch.manual_seed(1)
    first = said(generator)
    torch.manual_seed(2)
    assert said(generator) == first


def test_who_stops_listening_stops_the_model(generator: CausalLMGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 0
    forward = generator._model.forward

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal steps
        steps += 1
        listening.wait(0.01)
        return forward(*arguments, **options)

    listening = threading.Event()
    monkeypatch.setattr(generator._model, "forward", counted)
    pieces = generator.generate(MESSAGES, max_tokens=200)
    next(pieces)
    assert len(threads()) == 1
    pieces.close()  # type: ignore[attr-defined]
    assert threads() == []
    assert steps < 150
    monkeypatch.undo()
    assert said(generator, 3)


def test_who_forgets_to_listen_blocks_nobody(generator: CausalLMGenerator) -> None:
    forgotten = generator.generate(MESSAGES, max_tokens=30)
    first = next(forgotten)
    nested = said(generator, 12)
    assert nested == said(generator, 12)
    rest = "".join(forgotten)
    assert (first + rest).startswith(nested[:20])
    assert threads() == []


def test_a_generator_that_is_never_begun_starts_nothing(generator: CausalLMGenerator) -> None:
    generator.generate(MESSAGES, max_tokens=5)
    assert threads() == []


def test_a_failure_is_told_after_what_was_said(generator: CausalLMGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 0
    forward = generator._model.forward

    def failing(*arguments: Any, **options: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps > 4:
            raise RuntimeError("CUDA out of memory.\nTried to allocate")
        return forward(*arguments, **options)

    monkeypatch.setattr(generator._model, "forward", failing)
    pieces: list[str] = []
    with pytest.raises(ModelError) as raised:
        pieces.extend(generator.generate(MESSAGES, max_tokens=50))
    assert str(raised.value) == f"{generator.name} failed: CUDA out of memory."
    assert isinstance(raised.value.__cause__, RuntimeError)
    assert pieces
    assert threads() == []
    monkeypatch.undo()
    assert said(generator)


def test_threads_take_turns(generator: CausalLMGenerator) -> None:
    questions: list[list[Message]] = [[{"role": "user", "content": f"w{number}"}] for number in range(6)]
    expected = [said(generator, 10, question) for question in questions]
    found: dict[int, str] = {}

    def ask(at: int) -> None:
        assert generator.count_tokens(questions[at]) == 4
        found[at] = said(generator, 10, questions[at])

    asking = [threading.Thread(target=ask, args=(at,)) for at in range(6)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert [found[at] for at in range(6)] == expected


def test_an_answer_that_is_cut_is_told(
    generator: CausalLMGenerator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said(generator, 9)
    assert [record.getMessage() for record in caplog.records if record.name.startswith("lusirag")] == [
        "the answer was cut after 9 tokens; allow more with max_tokens"
    ]
    caplog.clear()
    ending = CausalLMGenerator(write_language_model(tmp_path, ends=True), device="cpu", temperature=3.0, seed=1)
    whole = said(ending, 200)
    assert len(whole.split()) < 150
    assert caplog.records == []
    exactly = len(whole.split())
    while said(ending, exactly) != whole:
        exactly += 1
    caplog.clear()
    said(ending, exactly)  # all but the token of the end
    assert len(caplog.records) == 1
    caplog.clear()
    said(ending, exactly + 1)
    assert caplog.records == []


def test_nothing_is_said_on_standard_error(directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    generator = CausalLMGenerator(directory, device="cpu", temperature=0.5)
    generator.count_tokens([{"role": "user", "content": "w1 " * 100}])  # more than its tokenizer is made for
    said(generator, 4)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.replace("the answer was cut after 4 tokens; allow more with max_tokens", "").strip() == ""


def test_how_long_prompt_and_answer_may_be(directory: Path) -> None:
    assert CausalLMGenerator(directory, device="cpu", context_tokens=100).context_tokens == 100
    for wrong in (0, -1, 257):
        with pytest.raises(InvalidArgumentError, match=f"context_tokens is {wrong}; .* takes 1 to 256"):
            CausalLMGenerator(directory, device="cpu", context_tokens=wrong)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -0.1}, "temperature is -0.1"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"repetition_penalty": 0}, "repetition_penalty 0"),
        ({"device": "abacus"}, "device 'abacus' is not there; this machine has cpu"),
        ({"dtype": "int8"}, "dtype is 'int8'; allowed: "),
    ],
)
def test_options_out_of_range(directory: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        CausalLMGenerator(directory, **{"device": "cpu"} | options)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_weights_may_be_tied_and_of_other_types(tmp_path: Path) -> None:
    directory = write_language_model(tmp_path, tie_word_embeddings=True)
    generator = CausalLMGenerator(directory, device="cpu", dtype="bfloat16")
    assert generator._model.dtype == torch.bfloat16
    assert said(generator, 5)


def encoder(directory: Path) -> Path:
    """BERT without a head: transformers would put a random one on it."""
    config = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=64, **config)).save_pretrained(directory)
    write_tokenizer(directory, None)
    return directory


def without_weights(directory: Path) -> Path:
    (write_language_model(directory) / "model.safetensors").unlink()
    return directory


def with_cut_weights(directory: Path) -> Path:
    file = write_language_model(directory) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])
    return directory


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path / "nowhere",
        lambda path: path,
        write_cross_encoder,
        encoder,
        without_weights,
        with_cut_weights,
    ],
)
def test_what_is_no_language_model(tmp_path: Path, make: Any) -> None:
    directory = make(tmp_path)
    with pytest.raises(ModelError) as raised:
        CausalLMGenerator(directory, device="cpu", local_files_only=True)
    message = str(raised.value)
    assert message.startswith(f"the language model {str(directory)!r} cannot be loaded (")
    assert message.endswith("give a directory or hub id of a causal language model with safetensors weights")
    assert "\n" not in message
