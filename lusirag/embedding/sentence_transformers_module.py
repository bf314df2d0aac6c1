"""LUSIFER as a module of sentence-transformers; directories that `exporting` writes name it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from sentence_transformers.base.modules import InputModule
from torch import Tensor

from lusirag.embedding.batching import pad_batch
from lusirag.embedding.tokenization import TextTokenizer, require_texts
from lusirag.model import LusiferModel
from lusirag.model.source import resolve_directory, tokenizer_file


class LusiferModule(InputModule):
    """Texts to embeddings, not normalised; the next module of the pipeline normalises."""

    def __init__(self, network: LusiferModel, tokenizer_file: Path) -> None:
        super().__init__()
        self.network = network
        self.tokenizer_file = tokenizer_file
        self.text_tokenizer = TextTokenizer(tokenizer_file, max_tokens=network.config.max_tokens)
        self.tokenizer = self.text_tokenizer.tokenizer

    @classmethod
    def load(
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        revision: str | None = None,
        local_files_only: bool = False,
        model_kwargs: dict[str, Any] | None = None,
        **_: Any,
    ) -> LusiferModule:
        """Load from a directory or hub id, as sentence-transformers asks for it."""
        directory = resolve_directory(model_name_or_path, revision=revision, local_files_only=local_files_only)
        options = model_kwargs or {}
        network = LusiferModel.from_pretrained(
            directory / subfolder,
            merge_adapters=True,
            dtype=options.get("dtype", options.get("torch_dtype", torch.float32)),
            attn_implementation=options.get("attn_implementation", "sdpa"),
        )
        return cls(network, tokenizer_file(directory / subfolder, network.config))

    def preprocess(self, inputs: Sequence[str], prompt: str | None = None, **_: Any) -> dict[str, Tensor]:
        """Texts to token ids: {"input_ids", "attention_mask"}, each (B, S)."""
        texts = [f"{prompt or ''}{text}" for text in require_texts(list(inputs), name="inputs")]
        ids, mask = pad_batch(self.text_tokenizer(texts).ids, padding_id=self.network.config.padding_id)
        return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Add "sentence_embedding", (B, O)."""
        output = self.network(features["input_ids"], features["attention_mask"])
        return features | {"sentence_embedding": output.embeddings}

    def get_embedding_dimension(self) -> int:
        """O."""
        return int(self.network.config.dimension)

    @property
    def max_seq_length(self) -> int:
        """Longest input in tokens."""
        return int(self.network.config.max_tokens)

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Write the model directory."""
        self.network.save_pretrained(output_path)
        shutil.copyfile(self.tokenizer_file, Path(output_path) / "tokenizer.json")
