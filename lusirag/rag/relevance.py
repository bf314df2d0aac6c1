"""How near passages are to a question, on a scale that means the same for every embedding model."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lusirag.types import Encoder, Vectors

# On unlike subjects in unlike languages: at most one or two of them are near any question.
_BACKGROUND = (
    "Knead the dough for ten minutes and let it rise in a warm place.",
    "Die Mannschaft hat das Spiel in der letzten Minute verloren.",
    "Se esperan lluvias fuertes y viento en la costa durante el fin de semana.",
    "Перед заменой колеса включите стояночный тормоз.",
    "オーケストラは三つの交響曲を演奏した。",
    "木星是太阳系中最大的行星。",
    "Prenez un comprimé matin et soir pendant une semaine.",
    "किसानों ने इस साल गेहूँ की अच्छी फसल काटी।",
    "أغلقت أسعار النفط على ارتفاع في البورصة اليوم.",
    "Treni ya kwenda pwani huondoka saa mbili asubuhi.",
    "고양이는 하루의 대부분을 잠으로 보낸다.",
    "Beyaz, atını oynayarak rakibin kalesini aldı.",
    "Raja baru itu dinobatkan setelah perang berakhir.",
    "Khởi động lại máy tính sau khi cài đặt bản cập nhật.",
    "Tämän talven takit ovat pitkiä ja tummia.",
    "Os vulcões se formam onde as placas da crosta se encontram.",
)


class Relevance:
    """Similarities to a question, with what any two texts share taken out.

    Cosines of embedding models have their own zero: unrelated texts have 0.2 with one model and 0.75 with another. A
    relevance is (cosine - b) / (1 - b), where b is the question's median cosine to sentences on unlike subjects: 0 for
    a passage that is no nearer than these, 1 for the same text.

    Args:
        embedder: the model that the vectors are of.
    """

    def __init__(self, embedder: Encoder) -> None:
        self._background: Vectors = embedder.encode_documents(list(_BACKGROUND))  # (16, dim)

    def of(self, question: Vectors, passages: Vectors) -> npt.NDArray[np.float32]:
        """Relevance (n,) of passages (n, dim) to a question (dim,); all vectors of unit length."""
        unrelated = float(np.median(self._background @ question))
        relevance: npt.NDArray[np.float32] = (passages @ question - unrelated) / max(1.0 - unrelated, 1e-6)
        return relevance
