"""An answer without a language model: the sentence that answers best, quoted as it stands."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lusirag.rag.answer import Citation
from lusirag.rag.sentences import Sentences

# A sentence in the language of the question is worth so much relevance: its reader understands it. Translations of a
# sentence differ by about as much, so that the same is quoted in the language that was asked in, where it is there.
_OWN_LANGUAGE = 0.12


def extract(sentences: Sentences, relevance: npt.NDArray[np.float32], language: str | None) -> Citation:
    """The sentence that answers a question.

    Args:
        sentences: n of them, at least one.
        relevance: (n,) to the question.
        language: BCP 47 tag of the language to prefer, "zh" includes "zh-Hant"; None for none.
    """
    own = np.array(
        [
            found is not None and language is not None and same_language(found, language)
            for found in sentences.languages()
        ]
    )
    return sentences.citation(int(np.argmax(relevance + _OWN_LANGUAGE * own)), marked=True)


def same_language(tag: str, other: str) -> bool:
    """True for "zh" and "zh-Hant", false for "de" and "en"."""
    return tag.split("-")[0].lower() == other.split("-")[0].lower()
