from __future__ import annotations

from pathlib import Path

import pytest
from fake_embedder import FakeEmbedder, SplittingEmbedder
from tokenizers import Tokenizer, models, pre_tokenizers

from lusirag.embedding import Embedder
from lusirag.embedding.tokenizer_only import TokenizerOnly
from lusirag.errors import InvalidArgumentError, ModelError
from lusirag.index import Index, LanguageStatistics
from lusirag.index.language_report import LanguageReport
from lusirag.index.parallel_text import english_articles, relative_length
from lusirag.types import Document


class WordEmbedder(SplittingEmbedder):
    """One token a word; knows the words w0 to w9 and reads eight words of a passage."""

    def __init__(self) -> None:
        super().__init__(max_passage_tokens=8)
        words = {"<unk>": 0} | {f"w{number}": number + 1 for number in range(10)}
        self.tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
        self.tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()


@pytest.fixture
def embedder() -> WordEmbedder:
    return WordEmbedder()


@pytest.fixture
def index(tmp_path: Path, embedder: WordEmbedder) -> Index:
    """Documents are not split."""
    return Index.create(tmp_path / "index", embedder, chunk_tokens=0, identify_languages=False)


def text(number: int) -> str:
    """1 to 12 words, of which some are not known."""
    return " ".join(f"w{(number * word) % 13}" for word in range(1, 2 + number % 12))


def of(report: LanguageReport, language: str | None) -> LanguageStatistics:
    return next(each for each in report.languages if each.language == language)


def test_counts_what_is_stored(index: Index) -> None:
    tags = ("sw", "en", None, "zh", "sw")
    documents = [
        Document(f"d{number}", text(number), title="w1 strange" if number % 3 else None, language=tags[number % 5])
        for number in range(600)
    ]
    index.add(documents, commit_passages=150)
    gone = [f"d{number}" for number in range(0, 600, 7)]
    index.delete(gone)
    left = [document for document in documents if document.id not in gone]
    report = index.language_report(sample=None)
    assert report.english == "the English passages of this index"
    assert report.max_passage_tokens == 8
    assert index.info()["segments"] > 1
    rates: dict[str | None, float] = {}
    for language in ("en", "sw", None, "zh"):
        texts = [
            f"{each.title}\n{each.text}" if each.title else each.text for each in left if each.language == language
        ]
        words = [each.split() for each in texts]
        found = of(report, language)
        assert found.documents == found.passages == found.examined == len(texts)
        tokens = sum(map(len, words))
        rates[language] = tokens / sum(map(len, texts))
        assert found.tokens_per_character == pytest.approx(rates[language])
        unknown = [word for each in words for word in each if word not in {f"w{at}" for at in range(10)}]
        assert found.unknown_share == pytest.approx(len(unknown) / tokens)
        assert 0 < found.unknown_share < 1
        assert found.truncated_share == pytest.approx(sum(len(each) > 8 for each in words) / len(words))
        assert 0 < found.truncated_share < 1
        assert found.ratio == pytest.approx(rates[language] / rates["en"])
    assert report.languages[0].language == "sw"
    assert of(report, None).content_ratio is None
    assert of(report, "zh").content_ratio == pytest.approx(of(report, "zh").ratio * relative_length("zh"))
    assert index.language_report(sample=240) == report  # as many as the largest language has, or more


def test_a_sample_is_drawn_of_each_language_by_its_seed(index: Index) -> None:
    index.add([Document(f"d{number}", text(number), language=("en", "de")[number % 4 == 0]) for number in range(400)],
              commit_passages=100)  # fmt: skip
    report = index.language_report(sample=80)
    assert [(each.language, each.passages, each.examined) for each in report.languages] == [
        ("en", 300, 80),
        ("de", 100, 80),
    ]
    assert report == index.language_report(sample=80, seed=0)
    figures = {of(index.language_report(sample=80, seed=seed), "en").tokens_per_character for seed in range(8)}
    assert len(figures) > 4
    assert sum(figures) / len(figures) == pytest.approx(
        of(index.language_report(sample=None), "en").tokens_per_character, rel=0.03
    )
    assert of(index.language_report(), "en").examined == 300


def test_chunks_are_passages_of_one_document(tmp_path: Path, embedder: WordEmbedder) -> None:
    with Index.create(tmp_path / "split", embedder, overlap=0) as split:
        split.add([Document("long", " ".join(["w1 w2 w3."] * 20), language="en"), Document("d", "w1", language="en")])
        [english] = split.language_report().languages
        assert english.documents == 2
        assert english.passages == english.examined == split.info()["passages"] > 5
        assert english.truncated_share == 0


def test_warnings_at_their_thresholds(index: Index) -> None:
    index.add([Document(f"en{number}", "w1 w2 " + "w1234567 " * 60, language="en") for number in range(30)])
    index.add([Document(f"xx{number}", "w1 w2 w3", language="xx") for number in range(30)])
    index.add([Document(f"zh{number}", "w1 w2 w3", language="zh") for number in range(30)])
    index.add([Document(f"af{number}", "w1 sixteen_letters__ " * (5 if number < 2 else 3), language="af")
               for number in range(38)])  # fmt: skip
    report = index.language_report()
    assert of(report, "xx").ratio == of(report, "zh").ratio > 2
    assert of(report, "af").truncated_share == pytest.approx(2 / 38)
    # Chinese says as much with a quarter of the characters.
    assert [warning.split(" ")[:3] for warning in report.warnings] == [
        ["af:", "5.3%", "of"],
        ["af:", "50.0%", "of"],
        ["en:", "100.0%", "of"],
        ["en:", "96.8%", "of"],
        ["xx:", "3.3", "times"],
    ]
    assert "longer than the 8 tokens" in report.warnings[0]
    assert "unknown" in report.warnings[1]
    index.delete(["af0"])
    assert len(index.language_report().warnings) == 4


def test_without_english_the_declaration_is_the_measure(index: Index, embedder: WordEmbedder) -> None:
    assert index.language_report().languages == ()
    index.add([Document(f"d{number}", text(number), language="sw") for number in range(50)])
    report = index.language_report()
    assert report.english.startswith("the Universal Declaration")
    assert report.english.endswith("has no English")
    words = sum(len(each.split()) for each in english_articles()) / sum(map(len, english_articles()))
    assert of(report, "sw").ratio == pytest.approx(of(report, "sw").tokens_per_character / words)
    index.add([Document("e", "w1", language="en-GB")])
    assert index.language_report().english.endswith("has little English")


def test_length_of_the_same_text() -> None:
    assert relative_length("en") == 1
    assert relative_length("zh") == pytest.approx(0.26, abs=0.02)
    assert relative_length("pt-BR") == relative_length("pt")
    assert relative_length("zh-Hant") != relative_length("zh")
    assert relative_length("qaa") is relative_length("qaa-Latn") is None


def test_what_it_cannot_count(index: Index, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="sample is 0"):
        index.language_report(sample=0)
    with (
        Index.create(tmp_path / "plain", FakeEmbedder()) as plain,
        pytest.raises(ModelError, match="'fake' has no tokenizer"),
    ):
        plain.language_report()


@pytest.mark.parametrize("dimension", [None, 16])
def test_a_tokenizer_stands_for_its_model(tiny_directory: Path, tmp_path: Path, dimension: int | None) -> None:
    embedder = Embedder.load(tiny_directory, device="cpu", dimension=dimension)
    only = TokenizerOnly.load(str(tiny_directory), dimension=dimension)
    for name in ("dimension", "max_tokens", "max_passage_tokens", "fingerprint"):
        assert getattr(only, name) == getattr(embedder, name)
    with Index.create(tmp_path / "index", embedder) as index:
        index.add([Document("a", "some words", language="en")])
        report = index.language_report()
    with Index.open(tmp_path / "index", lambda name, kept: TokenizerOnly.load(name, dimension=kept)) as opened:
        assert opened.language_report() == report
        with pytest.raises(ModelError, match="only the tokenizer was read"):
            opened.search("words")
    with pytest.raises(ModelError, match="only the tokenizer was read"):
        only.encode_documents(["a"])
