from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from lusirag.corpus import documents_to_batches, identify, identify_languages
from lusirag.types import Document

TEXTS = {
    "en": "All human beings are born free and equal in dignity and rights.",
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "fa": "تمام افراد بشر آزاد به دنیا می‌آیند و از لحاظ حیثیت و حقوق با هم برابرند.",
    "ko": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "te": "ప్రతిపత్తిస్వత్వముల విషయమున మానవులెల్లరును జన్మతః స్వతంత్రులును సమానులును నగుదురు.",
    "sw": "Serikali ya Tanzania imesema kwamba watoto wote wanapaswa kwenda shule kila siku.",
    "fi": "Kaikki ihmiset syntyvät vapaina ja tasavertaisina arvoltaan ja oikeuksiltaan.",
}


def test_languages_are_identified() -> None:
    assert identify(list(TEXTS.values())) == list(TEXTS)


def test_line_breaks_and_length_do_not_matter() -> None:
    assert identify([text.replace(" ", "\n") * 500 for text in TEXTS.values()]) == list(TEXTS)


def test_what_is_no_language_has_none() -> None:
    assert identify(["12345 67", "😀😀", "-", "AB-1234 SKU", ""]) == [None] * 5


def test_only_empty_cells_are_filled() -> None:
    documents = [Document("a", TEXTS["en"], language="zh-Hant"), Document("b", TEXTS["sw"]), Document("c", "42")]
    (batch,) = documents_to_batches(documents)
    filled = identify_languages(batch)
    assert filled["language"].to_pylist() == ["zh-Hant", "sw", None]
    assert filled.schema == batch.schema
    assert batch["language"].to_pylist() == ["zh-Hant", None, None]


def test_threads_may_share_it() -> None:
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(identify, [list(TEXTS.values())] * 32))
    assert all(result == list(TEXTS) for result in results)
