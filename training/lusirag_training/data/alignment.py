"""Rows of a data set become a batch of stage 1: a source for the encoder, a target for the language model to write.

B examples, W target tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor

from lusirag.embedding.batching import pad_batch
from lusirag.model.alignment import NO_LABEL
from lusirag_training.config.stages import RECONSTRUCT, WRITE_QUESTION
from lusirag_training.data.texts import Ids, ModelTexts


class Example(NamedTuple):
    """What is read, under which instruction, and what is to be written."""

    source: str
    instruction: str
    target: str


@dataclass(frozen=True, slots=True)
class Mixture:
    """Which of its tasks a row is used for (LUSIFER paper, appendix; see `AlignmentDataSection`).

    Args:
        question_to_passage: share of question/passage rows whose passage is written; of the others, `reconstruction`
            reconstruct the passage and the rest write the question.
        labelled_reconstruction: share of labelled texts that are reconstructed.
    """

    question_to_passage: float = 0.3
    reconstruction: float = 0.4
    labelled_reconstruction: float = 0.1

    def choose(
        self, row: Mapping[str, Any], generator: np.random.Generator, *, instruction: str, reconstruct_only: bool
    ) -> Example:
        """Draw a task for a row with text (and label), or with query and positive (list).

        Args:
            instruction: of the data set. reconstruct_only: no completion, as in the first phase.
        """
        if "query" not in row:
            text, label = row["text"], row.get("label")
            if label is None or reconstruct_only or generator.random() < self.labelled_reconstruction:
                return Example(text, RECONSTRUCT, text)
            return Example(text, instruction, label)
        positives = row["positive"]
        passage = positives[generator.integers(len(positives))]
        if reconstruct_only:
            return Example(passage, RECONSTRUCT, passage)
        if generator.random() < self.question_to_passage:
            return Example(row["query"], instruction, passage)
        if generator.random() < self.reconstruction:
            return Example(passage, RECONSTRUCT, passage)
        return Example(passage, WRITE_QUESTION, row["query"])


@dataclass(frozen=True, slots=True)
class TargetTokens:
    """The language model's tokens of a target.

    Args:
        tokenizer: of the language model. begin, end: its special tokens, None where it has none.
        mask: what a masked word is replaced by. padding: fills up rows; it is never seen.
        most: longest target, special tokens included; a longer one is cut and then has no end.
    """

    tokenizer: Tokenizer
    begin: int | None
    end: int | None
    mask: int
    padding: int
    most: int

    def __call__(self, texts: Sequence[str]) -> Ids:
        """Token ids of targets."""
        encodings = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        first = [] if self.begin is None else [self.begin]
        last = [] if self.end is None else [self.end]
        return [[*first, *encoding.ids, *last][: self.most] for encoding in encodings]


@dataclass(frozen=True, slots=True)
class AlignmentBatch:
    """One process's share of a batch.

    Attributes:
        sources: token ids of the multilingual encoder.
        targets, target_masks, labels: for each example its target as the language model sees it (masked words
            replaced), which of its words it sees at all, and the words that it must write.
    """

    sources: Ids
    targets: Ids
    target_masks: Ids
    labels: Ids


@dataclass(frozen=True, slots=True)
class AlignmentRows:
    """Draws a task for each row, tokenises both sides and masks the target.

    Args:
        texts: of the model. targets: of the language model. mixture: of the tasks.
        mask_probability: see `mask_words`.
    """

    texts: ModelTexts
    targets: TargetTokens
    mixture: Mixture
    mask_probability: float

    def __call__(
        self,
        rows: Sequence[Mapping[str, Any]],
        generators: Sequence[np.random.Generator],
        *,
        instruction: str,
        reconstruct_only: bool,
    ) -> AlignmentBatch:
        """Make a batch.

        Args:
            rows: as `Mixture.choose` takes them. generators: one a row.
            instruction, reconstruct_only: see `Mixture.choose`.
        """
        examples = [
            self.mixture.choose(row, generator, instruction=instruction, reconstruct_only=reconstruct_only)
            for row, generator in zip(rows, generators, strict=True)
        ]
        told = self.texts.templates["query"].takes_instruction
        sources = [
            ids
            for each in examples
            for ids in self.texts.ids("query", [each.source], instruction=each.instruction if told else None)
        ]
        labels = self.targets([each.target for each in examples])
        masked = [self._mask(row, generator) for row, generator in zip(labels, generators, strict=True)]
        return AlignmentBatch(sources, [ids for ids, _ in masked], [mask for _, mask in masked], labels)

    def _mask(self, labels: list[int], generator: np.random.Generator) -> tuple[list[int], list[int]]:
        draws = generator.random((2, len(labels)))
        if self.targets.begin is not None:
            draws[:, 0] = 1  # it stands before the text and is no word to guess
        ids, seen = mask_words(np.array(labels), *draws, probability=self.mask_probability, mask_id=self.targets.mask)
        return ids.tolist(), seen.tolist()


Numbers = npt.NDArray[np.int64]


def mask_words(
    words: Numbers,
    hide: npt.NDArray[np.floating[Any]],
    replace: npt.NDArray[np.floating[Any]],
    *,
    probability: float,
    mask_id: int,
) -> tuple[Numbers, Numbers]:
    """Mask target words as the paper does: two independent draws a word.

    Args:
        words: token ids, any shape. hide, replace: uniform draws in [0, 1) of that shape.
        probability: a word is hidden from attention, or replaced by `mask_id`, where its draw is below this.

    Returns:
        The words with some replaced, and 1 where a word is seen.
    """
    return np.where(replace < probability, mask_id, words), (hide >= probability).astype(np.int64)


def padded_targets(
    targets: Ids, masks: Ids, labels: Ids, *, padding_id: int, device: torch.device | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Targets, what of them is seen, and labels, (B, W) each, padded on the right."""
    columns = [
        pad_batch(rows, padding_id=filler)[0]
        for rows, filler in ((targets, padding_id), (masks, 0), (labels, NO_LABEL))
    ]
    ids, seen, wanted = (torch.from_numpy(column).to(device) for column in columns)
    return ids, seen, wanted
