"""Any causal language model of transformers, in this process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lusirag.errors import InvalidArgumentError, ModelError
from lusirag.rag.generator import Message

logger = logging.getLogger(__name__)

_THINKING = "<think>"


class CausalLMGenerator:
    """A decoder with its tokenizer, run by transformers.

    The prompt is put in the model's chat template, with thinking turned off where the template knows it; a model
    without one gets the messages as plain text. Calls from several threads take turns. Torch's random numbers play no
    part.

    Args:
        model: a directory or hub id, such as "Qwen/Qwen3-4B-Instruct-2507". Weights must be safetensors; code that
            comes with a model is never run.
        device: "cpu", "cuda", "cuda:1", ...; the first GPU when there is one, else the CPU.
        dtype: "float32", "bfloat16" or "float16"; float32 on a CPU and bfloat16 on a GPU when None.
        context_tokens: how long prompt and answer may be together; what the model was made for when None.
        temperature: 0 always takes the likeliest token; above, tokens are drawn.
        seed: of the drawing.
        repetition_penalty: above 1 keeps small models from going round in circles.
        local_files_only: never ask the hub.

    Raises:
        ModelError: there is no such model, its files cannot be read, or it is no causal language model.
        InvalidArgumentError: no such device or dtype, or a number out of range.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        device: str | None = None,
        dtype: str | None = None,
        context_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int = 0,
        repetition_penalty: float = 1.0,
        local_files_only: bool = False,
    ) -> None:
        if not (temperature >= 0 and repetition_penalty > 0):
            raise InvalidArgumentError(
                f"temperature is {temperature} and repetition_penalty {repetition_penalty}; "
                "the first must not be below 0, the second must be above"
            )
        self.name = str(model)
        self._model, self._tokenizer = _load(self.name, device, dtype, local_files_only=local_files_only)
        self.context_tokens = _checked_context(context_tokens, self._model.config, self.name)
        self._temperature, self._seed, self._penalty = temperature, seed, repetition_penalty
        self._lock = threading.Lock()

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """As the model's own tokenizer counts, chat template included."""
        return len(self._tokens(self._prompt(messages))["input_ids"])

    def generate(self, messages: Sequence[Message], *, max_tokens: int) -> Iterator[str]:
        """Yield the answer word by word; when the caller stops listening, the model stops.

        Raises:
            InvalidArgumentError: prompt and answer may be longer together than `context_tokens`.
            ModelError: the model failed, as for lack of memory.
        """
        from transformers import StoppingCriteriaList, TextIteratorStreamer

        prompt = self._prompt(messages)
        inputs = self._tokens(prompt, return_tensors="pt")
        if (length := inputs["input_ids"].shape[1]) + max_tokens > self.context_tokens:
            raise InvalidArgumentError(
                f"the prompt has {length} tokens, and {self.name} takes {self.context_tokens} with the answer; "
                f"shorten the prompt, or ask for less than {max_tokens}"
            )
        streamer = TextIteratorStreamer(self._tokenizer, skip_prompt=True, skip_special_tokens=True)
        unheard = threading.Event()
        failure: list[BaseException] = []
        whole: list[bool] = []

        def run() -> None:
            stopping = StoppingCriteriaList([lambda *_: unheard.is_set()])
            try:
                with self._lock:  # here, not around the loop below: a listener who forgets to go on blocks nobody
                    whole.append(self._run(inputs, max_tokens, streamer, stopping))
            except BaseException as error:
                failure.append(error)
            finally:
                streamer.end()  # wakes the listener also when generation failed

        thread = threading.Thread(target=run, name="lusirag-generate", daemon=True)
        thread.start()
        try:
            if prompt.rstrip().endswith(_THINKING):
                yield _THINKING  # so that who reads the output alone sees where thinking begins
            for piece in streamer:
                if piece:
                    yield piece
        finally:
            unheard.set()
            thread.join()
        if failure:
            raise ModelError(f"{self.name} failed: {_first_line(failure[0])}") from failure[0]
        if not all(whole):  # said here, behind the last words
            logger.warning("the answer was cut after %d tokens; allow more with max_tokens", max_tokens)

    def _run(self, inputs: dict[str, Any], max_tokens: int, streamer: Any, stopping: Any) -> bool:
        """Write an answer; False when it was cut."""
        device = self._model.device
        produced = self._model.generate(
            **{name: tensor.to(device) for name, tensor in inputs.items()},
            max_new_tokens=max_tokens,
            repetition_penalty=self._penalty,
            logits_processor=[_drawing(self._temperature, self._seed, device)] if self._temperature else [],
            streamer=streamer,
            stopping_criteria=stopping,
        )[0].tolist()
        written = produced[inputs["input_ids"].shape[1] :]
        ends = self._model.generation_config.eos_token_id
        return len(written) < max_tokens or written[-1] in (ends if isinstance(ends, list) else [ends])

    def _tokens(self, prompt: str, **options: Any) -> dict[str, Any]:
        # A chat template writes the token of the beginning itself; without it, models made for it write nonsense.
        plain = self._tokenizer.chat_template is None
        found = self._tokenizer(prompt, add_special_tokens=plain, verbose=False, **options)
        return {name: found[name] for name in ("input_ids", "attention_mask")}

    def _prompt(self, messages: Sequence[Message]) -> str:
        from jinja2 import TemplateError

        if self._tokenizer.chat_template is None:
            return "\n\n".join([*(message["content"] for message in messages), "Answer:"])

        def filled(turns: Sequence[Message]) -> str:
            prompt: str = self._tokenizer.apply_chat_template(
                list(turns), tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
            return prompt

        try:
            return filled(messages)
        except TemplateError:  # of models that know no system message, as Gemma 2
            try:
                return filled([{"role": "user", "content": "\n\n".join(turn["content"] for turn in messages)}])
            except TemplateError as error:
                raise ModelError(
                    f"the chat template of {self.name} cannot be filled ({_first_line(error)}); give another model"
                ) from error


def _load(name: str, device: str | None, dtype: str | None, *, local_files_only: bool) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from lusirag.embedding.torch_runtime import choose_device, choose_dtype
    from lusirag.model.quiet import quiet_transformers

    place = choose_device(device)
    kind = choose_dtype(dtype, place)
    try:
        with quiet_transformers():
            options = {"local_files_only": local_files_only, "trust_remote_code": False}
            tokenizer = AutoTokenizer.from_pretrained(name, **options)
            model, read = AutoModelForCausalLM.from_pretrained(
                name, dtype=kind, use_safetensors=True, output_loading_info=True, **options
            )
            if read["missing_keys"]:  # transformers fills them with random numbers
                raise ModelError(f"it lacks {len(read['missing_keys'])} weights, as {min(read['missing_keys'])}")
    except Exception as error:  # each kind of broken model raises another one, of several libraries
        raise ModelError(
            f"the language model {name!r} cannot be loaded ({_first_line(error)}); give a directory or hub id of a "
            "causal language model with safetensors weights"
        ) from error
    _settle(model, tokenizer)
    return model.to(place).eval(), tokenizer


def _settle(model: Any, tokenizer: Any) -> None:
    """Leave of a model's own settings for generation its special tokens alone: the rest is for chatting."""
    from transformers import GenerationConfig

    own = model.generation_config
    ends = tokenizer.eos_token_id if own.eos_token_id is None else own.eos_token_id
    pad = own.pad_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    if pad is None:
        pad = ends[0] if isinstance(ends, list) else ends
    model.generation_config = GenerationConfig(bos_token_id=own.bos_token_id, eos_token_id=ends, pad_token_id=pad)


def _drawing(temperature: float, seed: int, device: Any) -> Any:
    """What makes taking the likeliest token draw one: the largest of log p / T + Gumbel noise is a draw from p^(1/T).

    Source: Gumbel, "Statistical theory of extreme values", 1954. transformers can draw too, but from the random numbers
    of the whole process, which belong to the caller.
    """
    import torch

    random = torch.Generator(device).manual_seed(seed)

    def draw(_: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # (1, V)
        noise = torch.empty_like(scores, dtype=torch.float32).exponential_(generator=random)
        return scores.float() / temperature - noise.log()

    return draw


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _checked_context(asked: int | None, config: Any, name: str) -> int:
    made_for = getattr(config.get_text_config(), "max_position_embeddings", None)
    if asked is None:
        return int(made_for or 4096)
    if asked < 1 or (made_for is not None and asked > made_for):
        raise InvalidArgumentError(f"context_tokens is {asked}; {name} takes 1 to {made_for or 'any number'}")
    return asked
