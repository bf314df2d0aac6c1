"""Text into the terms that lexical search counts: the model's own pieces, so that one analyser serves every script.

Words would need another rule for each script, and none of the simple ones holds for Chinese, Thai or Finnish. The
model's tokenizer has learnt pieces for all of its languages. They are taken from the text in lower case; the mark of a
word's beginning is dropped, so that a piece is the same term inside a word and at its start; pieces without a letter or
digit are left out. `python -m benchmarks.lexical` measures each of these choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from lusirag.errors import IndexStateError, ModelError
from lusirag.index.manifest import LexicalRecord
from lusirag.types import Encoder

if TYPE_CHECKING:
    from tokenizers import Tokenizer

ANALYSER = "pieces-1"  # recorded in the manifest; another name when terms are made in another way
_WORD_MARKS = ("▁", "##", "Ġ")  # of SentencePiece, WordPiece and byte-level BPE
_LEFT_OUT = -1

Ids = npt.NDArray[np.uint32]


class Terms(NamedTuple):
    """The terms of some texts, one after another.

    Attributes:
        offsets: (texts + 1,) where each text's terms begin in `ids`, and the end.
        ids: (terms,).
    """

    offsets: npt.NDArray[np.int64]
    ids: Ids

    def of(self, text: int) -> Ids:
        """The terms of one text, in its order."""
        return self.ids[self.offsets[text] : self.offsets[text + 1]]


def joined(parts: Sequence[Terms]) -> Terms:
    """The terms of several runs of texts as those of one."""
    starts = np.cumsum([0, *(len(part.ids) for part in parts)])
    ends = [part.offsets[1:] + start for part, start in zip(parts, starts[:-1], strict=True)]
    return Terms(np.concatenate([[0], *ends]).astype(np.int64), np.concatenate([part.ids for part in parts]))


class Analyser:
    """Texts to terms. A term is the number of a piece in the tokenizer's vocabulary.

    Args:
        tokenizer: the embedding model's; it is not changed.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        from lusirag.corpus import untruncated

        self._tokenizer = untruncated(tokenizer)
        self._special = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
        self._known: dict[int, int] = {}  # piece -> term

    def __call__(self, texts: Sequence[str]) -> Terms:
        """The terms of each text, repeated as often as they occur."""
        encodings = self._tokenizer.encode_batch_fast([text.lower() for text in texts], add_special_tokens=False)
        counts = [len(encoding) for encoding in encodings]
        pieces = np.fromiter((piece for encoding in encodings for piece in encoding.ids), np.int64, count=sum(counts))
        distinct, place = np.unique(pieces, return_inverse=True)
        terms = np.array([self._term(piece) for piece in distinct.tolist()], dtype=np.int64)[place]
        kept = terms != _LEFT_OUT
        ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        kept_before = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
        return Terms(kept_before[ends], terms[kept].astype(np.uint32))

    def _term(self, piece: int) -> int:
        if piece not in self._known:
            written = self._tokenizer.id_to_token(piece) or ""
            for mark in _WORD_MARKS:
                written = written.removeprefix(mark)
            counts = piece not in self._special and any(character.isalnum() for character in written)
            same = self._tokenizer.token_to_id(written) if counts else _LEFT_OUT
            self._known[piece] = piece if same is None else same
        return self._known[piece]


def analyser_for(record: LexicalRecord | None, embedder: Encoder) -> Analyser | None:
    """The analyser that an index's lexical part was made with; None where it has none.

    Raises:
        ModelError: the embedder has no tokenizer.
        IndexStateError: it was another analyser.
    """
    if record is None:
        return None
    if record.analyser != ANALYSER:
        raise IndexStateError(
            f"the lexical part of this index was made by the analyser {record.analyser!r}, and this version has "
            f"{ANALYSER!r}; build the index again"
        )
    tokenizer = getattr(embedder, "tokenizer", None)
    if tokenizer is None:
        raise ModelError(
            f"this index counts the pieces of {embedder.name!r} for lexical search, but the embedder given has no "
            "tokenizer; give one that has"
        )
    return Analyser(tokenizer)
