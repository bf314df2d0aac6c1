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


class CausalLMGenerator:
    """A decoder with its tokenizer, run by transformers.

    The prompt is put in the model's chat template, with thinking turned off where the template knows it; a model
    without one gets the messages as plain text. Calls from several threads take turns.

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
        if temperature < 0 or repetition_penalty <= 0:
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
        return len(self._tokenizer(self._prompt(messages), add_special_tokens=False)["input_ids"])

    def generate(self, messages: Sequence[Message], *, max_tokens: int) -> Iterator[str]:
        """Yield the answer word by word; when the caller stops listening, the model stops.

        Raises:
            ModelError: the model failed, as for lack of memory.
        """
        from transformers import StoppingCriteriaList, TextIteratorStreamer

        inputs = self._tokenizer(self._prompt(messages), add_special_tokens=False, return_tensors="pt")
        inputs = {name: tensor.to(self._model.device) for name, tensor in inputs.items()}
        streamer = TextIteratorStreamer(self._tokenizer, skip_prompt=True, skip_special_tokens=True)
        unheard = threading.Event()
        failure: list[BaseException] = []

        def run() -> None:
            try:
                self._run(inputs, max_tokens, streamer, StoppingCriteriaList([lambda *_: unheard.is_set()]))
            except BaseException as error:
                failure.append(error)
            finally:
                streamer.end()  # wakes the listener also when generation failed

        thread = threading.Thread(target=run, name="lusirag-generate", daemon=True)
        with self._lock:
            thread.start()
            try:
                for piece in streamer:
                    if piece:
                        yield piece
            finally:
                unheard.set()
                thread.join()
        if failure:
            raise ModelError(
                f"{self.name} failed: {(str(failure[0]).splitlines() or [type(failure[0]).__name__])[0]}"
            ) from failure[0]

    def _run(self, inputs: dict[str, Any], max_tokens: int, streamer: Any, stopping: Any) -> None:
        import torch

        with torch.random.fork_rng():  # the caller's random numbers stay as they are
            torch.manual_seed(self._seed)
            produced = self._model.generate(
                **inputs, generation_config=self._generation(max_tokens), streamer=streamer, stopping_criteria=stopping
            )
        if produced.shape[1] - inputs["input_ids"].shape[1] >= max_tokens:
            logger.warning("the answer was cut after %d tokens; allow more with max_tokens", max_tokens)

    def _generation(self, max_tokens: int) -> Any:
        from transformers import GenerationConfig

        tokens = self._model.generation_config
        drawing = {"do_sample": True, "temperature": self._temperature} if self._temperature else {"do_sample": False}
        return GenerationConfig(
            **drawing,
            max_new_tokens=max_tokens,
            repetition_penalty=self._penalty,
            bos_token_id=tokens.bos_token_id,
            eos_token_id=tokens.eos_token_id if tokens.eos_token_id is not None else self._tokenizer.eos_token_id,
            pad_token_id=self._tokenizer.pad_token_id
            if self._tokenizer.pad_token_id is not None
            else tokens.pad_token_id,
        )

    def _prompt(self, messages: Sequence[Message]) -> str:
        if self._tokenizer.chat_template is None:
            return "\n\n".join([*(message["content"] for message in messages), "Answer:"])
        prompt: str = self._tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        return prompt


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
            model = AutoModelForCausalLM.from_pretrained(name, dtype=kind, use_safetensors=True, **options)
    except Exception as error:  # each kind of broken model raises another one, of several libraries
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"the language model {name!r} cannot be loaded ({reason}); give a directory or hub id of a causal "
            "language model with safetensors weights"
        ) from error
    return model.to(place).eval(), tokenizer


def _checked_context(asked: int | None, config: Any, name: str) -> int:
    made_for = getattr(config.get_text_config(), "max_position_embeddings", None)
    if asked is None:
        return int(made_for or 4096)
    if asked < 1 or (made_for is not None and asked > made_for):
        raise InvalidArgumentError(f"context_tokens is {asked}; {name} takes 1 to {made_for or 'any number'}")
    return asked
