"""Assemble an embedded model: base weights in 4-bit blocks, word embeddings in codes, trained matrices in 8 bits.

    python -m lusirag_training.assemble --encoder multilingual-e5-small --decoder smollm2-135m-instruct \\
        --trained trained.safetensors --out lusirag/assets/lusifer-mini

TRAINED is trained.safetensors of a run's checkpoint. But for the word embeddings, which are product-quantised (see
`codes`), nothing is rounded that the base models hold: every frozen tensor that was written is read back and compared
bit for bit with its source, and the command fails when one differs. The same sources give the same bytes.

Matrices that were trained are rounded to blocks of 8 bits; vectors keep the bits of float16.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lusirag.model import LusiferConfig
from lusirag.model.storage import BLOCK, BLOCKS, CODES, MINIMUM, quantize_matrix, restore_blocks
from lusirag_training.blocks import same_bits, stored_exactly
from lusirag_training.codes import quantize_table
from lusirag_training.model_card import write_card
from lusirag_training.vocabulary import DEFAULT_SIZE, trim_tokenizer

WORDS = "embeddings.word_embeddings.weight"
TEMPLATES = {"query": "query: {text}", "document": "passage: {text}"}
Progress = Callable[[str], None]


def assemble(
    encoder: Path,
    decoder: Path,
    trained: Path,
    out: Path,
    *,
    vocabulary_size: int = DEFAULT_SIZE,
    layers: int = 1,
    lora_alpha: float = 32,
    encoder_share: float = 1.0,
    code_columns: int | None = 4,
    trained_bits: int = 8,
    progress: Progress | None = None,
) -> None:
    """Write a model directory: config.json, model.safetensors, tokenizer.json, README.md.

    Args:
        encoder: transformers directory of a BERT-type encoder with a Unigram tokenizer.json.
        decoder: transformers directory of a Llama-type language model.
        trained: safetensors with connector, projection and LoRA matrices, under the names of `LusiferModel`.
        out: directory to write; files of the same names are replaced.
        vocabulary_size: pieces of the encoder's vocabulary that are kept.
        layers: how many of the language model's layers are kept, from the first.
        lora_alpha: LoRA scaling is alpha / rank; the rank is read from the matrices.
        encoder_share: how far the encoder goes from its base weights (0) to those that LoRA has trained (1). Between
            them it keeps more of what the training texts say nothing about (Wortsman et al. 2022, "Robust fine-tuning
            of zero-shot models", arXiv 2109.01903).
        code_columns: columns of the word embeddings that share a code of eight bits; None keeps their 4-bit blocks.
        trained_bits: of the trained matrices, 8 or 16.
        progress: gets one line of text a step.

    Raises:
        ValueError: a source lacks what is needed, `encoder_share` is not between 0 and 1, `trained_bits` is neither 8
            nor 16, or a frozen tensor did not come back bit for bit.
    """
    say = progress or (lambda line: None)
    parts = with_encoder_share(load_file(trained), encoder_share)
    tokenizer, rows = trim_tokenizer(
        json.loads((encoder / "tokenizer.json").read_text(encoding="utf-8")), size=vocabulary_size
    )
    say(f"vocabulary: {len(rows):,} pieces kept")

    bases = [load_file(directory / "model.safetensors") for directory in (encoder, decoder)]
    frozen = frozen_weights(*bases, rows=rows, layers=layers)
    words = f"multilingual_encoder.{WORDS}"
    stored: dict[str, Tensor] = {}
    for name, weight in frozen.items():
        if name == words and code_columns is not None:
            stored |= quantize_table(name, weight, width=code_columns, weights=piece_weights(tokenizer))
        else:
            stored |= stored_exactly(name, weight)
    say(f"frozen: {len(frozen)} tensors as {_kinds(frozen, stored)}")
    if code_columns is not None:
        error = float((restore_blocks(stored)[words] - frozen[words]).pow(2).sum() / frozen[words].pow(2).sum())
        say(f"word embeddings: {error:.3f} of their square lost by codes")
        frozen = {name: weight for name, weight in frozen.items() if name != words}
    stored_parts = store_trained(parts, bits=trained_bits)
    stored |= stored_parts
    restored_parts = restore_blocks(stored_parts)
    lost = sum(float((restored_parts[name].float() - part.float()).pow(2).sum()) for name, part in parts.items())
    say(f"trained: {lost / sum(float(part.float().pow(2).sum()) for part in parts.values()):.1e} of their square lost")

    config = model_config(encoder, decoder, parts, vocabulary_size=len(rows), layers=layers, lora_alpha=lora_alpha)
    out.mkdir(parents=True, exist_ok=True)
    _write_text(out / "tokenizer.json", json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")))
    config.save_pretrained(out)
    _write_weights(out / "model.safetensors", stored)
    write_card(out, vocabulary_size=len(rows), layers=layers)

    verify(out / "model.safetensors", frozen, restored_parts, rounded={words} if code_columns is not None else set())
    size = sum(file.stat().st_size for file in out.iterdir())
    say(f"wrote {out}: {size / 1e6:.1f} MB; {len(frozen)} frozen tensors restore bit for bit")


def with_encoder_share(trained: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """The trained parts with that share of what LoRA adds to the encoder's weights.

    Raises:
        ValueError: the share is not between 0 and 1, or below 1 where the encoder was not trained by LoRA.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"encoder_share is {share}; allowed is 0 to 1")
    added = {name for name in trained if name.startswith("multilingual_encoder.") and name.endswith(".lora_B.weight")}
    if share < 1 and not added:
        raise ValueError(f"encoder_share is {share}, but the encoder was not trained by LoRA; leave it out")
    return {name: part * share if name in added else part for name, part in trained.items()}


def store_trained(parts: Mapping[str, Tensor], *, bits: int) -> dict[str, Tensor]:
    """What is stored of the trained parts: matrices in blocks of 8 bits or in float16, all else in float16.

    Raises:
        ValueError: `bits` is neither 8 nor 16.
    """
    if bits not in (8, 16):
        raise ValueError(f"trained_bits is {bits}; allowed are 8 and 16")
    stored: dict[str, Tensor] = {}
    for name, part in parts.items():
        columns = part.shape[-1]
        if bits == 8 and part.dim() == 2 and name.endswith(".weight") and (columns % BLOCK == 0 or columns < BLOCK):
            stored |= quantize_matrix(name, part, bits=8)
        else:
            stored[name] = part.half().contiguous()
    return stored


def frozen_weights(
    encoder: Mapping[str, Tensor], decoder: Mapping[str, Tensor], *, rows: list[int], layers: int
) -> dict[str, Tensor]:
    """Return the base weights that the model keeps, under the names of `LusiferModel`, float32.

    Args:
        encoder: state dict of a BertModel; its pooling head is left out.
        decoder: state dict of a LlamaForCausalLM; only its first `layers` layers and the final norm are kept, no token
            embeddings, no head.
        rows: rows of the encoder's word embeddings to keep, in their new order.
    """
    of_encoder = {
        f"multilingual_encoder.{name}": weight[torch.tensor(rows)] if name == WORDS else weight
        for name, weight in encoder.items()
        if not name.startswith("pooler.")
    }
    wanted = ("model.norm.", *(f"model.layers.{layer}." for layer in range(layers)))
    of_decoder = {
        f"language_model.{name.removeprefix('model.')}": weight
        for name, weight in decoder.items()
        if name.startswith(wanted)
    }
    if not of_decoder:
        raise ValueError(f"the decoder has no {' or '.join(wanted)}; give the directory of a Llama-type model")
    return {name: weight.float() for name, weight in sorted((of_encoder | of_decoder).items())}


def model_config(
    encoder: Path,
    decoder: Path,
    trained: Mapping[str, Tensor],
    *,
    vocabulary_size: int,
    layers: int,
    lora_alpha: float,
) -> LusiferConfig:
    """Describe the assembled network; widths and ranks come from the trained parts themselves."""
    encoder_config = _base_config(encoder, vocab_size=vocabulary_size)
    decoder_config = _base_config(decoder, num_hidden_layers=layers)
    ranks = {tensor.shape[0] for name, tensor in trained.items() if name.endswith(".lora_A.weight")}
    if len(ranks) != 1:
        raise ValueError(f"the trained parts hold LoRA matrices of ranks {sorted(ranks)}; one rank is needed")
    config = LusiferConfig(
        encoder_config=encoder_config,
        decoder_config=decoder_config,
        connector="ff",
        added_tokens=len(trained["connector.added_tokens"]),
        pooling="mean",
        projection="linear",
        embedding_size=len(trained["projection.bias"]),
        encoder_skip=True,
        lora={"rank": ranks.pop(), "alpha": lora_alpha},
        templates=TEMPLATES,
        instructions={"query": "", "document": ""},
        max_tokens=encoder_config["max_position_embeddings"],
    )
    config.architectures = ["LusiferModel"]
    return config


def _base_config(directory: Path, **changes: int) -> dict[str, Any]:
    """A base model's config.json without the traces of where it lay."""
    values: dict[str, Any] = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    traces = ("_name_or_path", "_model_name_or_path", "transformers_version")
    return {key: value for key, value in values.items() if key not in traces} | changes


def piece_weights(tokenizer: Mapping[str, Any]) -> npt.NDArray[np.float64]:
    """How much each piece of a Unigram tokenizer counts when codes are made: the root of its probability."""
    scores = np.array([score for _, score in tokenizer["model"]["vocab"]], dtype=np.float64)
    weights: npt.NDArray[np.float64] = np.exp(np.minimum(scores, 0) / 2)
    return weights


def verify(
    weights: Path,
    frozen: Mapping[str, Tensor],
    trained: Mapping[str, Tensor],
    *,
    rounded: AbstractSet[str] = frozenset(),
) -> None:
    """Read a weight file back and compare it with its sources.

    Args:
        frozen: base weights. trained: the trained parts as they were rounded.
        rounded: what must be there, but is not what its source holds.

    Raises:
        ValueError: names the tensors that are missing, unknown, or differ in a bit.
    """
    restored = restore_blocks(load_file(weights))
    wrong = sorted((frozen.keys() | trained.keys() | rounded) ^ restored.keys())
    sources = dict(frozen) | {name: part.float() for name, part in trained.items()}
    wrong += [
        name
        for name in sorted(sources.keys() & restored.keys())
        if not same_bits(restored[name].float(), sources[name])
    ]
    if wrong:
        raise ValueError(f"{len(wrong)} tensors of {weights} are not what their sources hold: {', '.join(wrong[:8])}")


def _kinds(frozen: Mapping[str, Tensor], stored: Mapping[str, Tensor]) -> str:
    def kind(name: str) -> str:
        if name + BLOCKS in stored:
            return "4-bit blocks with minimum" if name + MINIMUM in stored else "4-bit blocks"
        if name + CODES in stored:
            return "codes"
        return str(stored[name].dtype).removeprefix("torch.")

    return ", ".join(f"{count} {name}" for name, count in sorted(Counter(map(kind, frozen)).items()))


def _write_weights(file: Path, stored: Mapping[str, Tensor]) -> None:
    temporary = file.with_suffix(".writing")
    save_file(dict(sorted(stored.items())), temporary, metadata={"format": "pt"})
    temporary.chmod(0o644)
    temporary.replace(file)


def _write_text(file: Path, text: str) -> None:
    temporary = file.with_suffix(".writing")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(file)


def arguments() -> argparse.ArgumentParser:
    """The command line; names as in `assemble`."""
    parser = argparse.ArgumentParser(
        prog="python -m lusirag_training.assemble", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--encoder", type=Path, required=True, help="transformers directory of the multilingual encoder"
    )
    parser.add_argument("--decoder", type=Path, required=True, help="directory of the language model")
    parser.add_argument("--trained", type=Path, required=True, help="safetensors with connector, projection and LoRA")
    parser.add_argument("--out", type=Path, required=True, help="model directory to write")
    parser.add_argument(
        "--vocabulary-size", type=int, default=DEFAULT_SIZE, help="pieces to keep (default: %(default)s)"
    )
    parser.add_argument(
        "--layers", type=int, default=1, help="layers of the language model to keep (default: %(default)s)"
    )
    parser.add_argument(
        "--code-columns",
        type=int,
        default=4,
        help="columns of the word embeddings a code of 8 bits (default: %(default)s)",
    )
    parser.add_argument(
        "--lora-alpha", type=float, default=32, help="LoRA alpha of the trained parts (default: %(default)s)"
    )
    parser.add_argument(
        "--encoder-share",
        type=float,
        default=1.0,
        help="how much of what LoRA adds to the encoder, 0 to 1 (default: %(default)s)",
    )
    parser.add_argument(
        "--trained-bits", type=int, default=8, help="of the trained matrices, 8 or 16 (default: %(default)s)"
    )
    return parser


def main() -> None:
    """Run from the command line."""
    options: dict[str, Any] = vars(arguments().parse_args())
    assemble(**options, progress=lambda line: print(line, flush=True))  # noqa: T201


if __name__ == "__main__":
    main()
