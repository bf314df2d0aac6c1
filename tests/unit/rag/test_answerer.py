"""`Answerer` over real indexes: what it retrieves, when it refuses, what it cites."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lusirag import Document, Embedder, Index
from lusirag.errors import InvalidArgumentError, LusiragError, ModelError
from lusirag.rag import Answer, Answerer, Message, Passage, Refusal
from lusirag.retrieval import Retriever
from lusirag.types import Hit
from tests.unit.index.fake_embedder import SplittingEmbedder
from tests.unit.rag.toy import DIMENSION, LAWS, Scripted, ToyEmbedder, passage, shown_numbers, vectors_of


class Splitting(ToyEmbedder):
    """Reads twelve words of a passage."""

    def __init__(self) -> None:
        super().__init__()
        other = SplittingEmbedder()
        self.max_passage_tokens, self.tokenizer = other.max_passage_tokens, other.tokenizer


def check(answer: Answer, documents: Sequence[Document]) -> None:
    """Everything that an answer points to is where it says."""
    texts = {document.id: document.text for document in documents}
    for found in answer.passages:
        there = texts[found.hit.document_id][found.start : found.end]
        assert found.text.split() == there.split()
        assert len(found.text) == len(there)
    for citation in answer.citations:
        assert citation.passage in answer.passages
        assert texts[citation.passage.hit.document_id][citation.start : citation.end].split() == citation.quote.split()
    assert answer.answered == bool(answer.text)


def test_the_nearest_sentence_is_quoted_in_the_language_of_the_question(laws: Index) -> None:
    for question, language, text, document in [
        ("Who has a right to education?", "en", "Everyone has the right to education.", "edu-en"),
        ("Nani ana haki ya kupata elimu?", "sw", "Kila mtu ana haki ya elimu.", "edu-sw"),
        ("谁有受教育的权利？", "zh", "人人都有受教育的权利。", "edu-zh"),
    ]:
        answer = Answerer(laws).ask(question)
        check(answer, LAWS)
        assert (answer.question, answer.language, answer.generator, answer.refusal) == (question, language, None, None)
        (citation,) = answer.citations
        assert answer.text == f"{text} [{citation.passage.number}]"
        assert (citation.passage.hit.document_id, citation.quote, citation.marked) == (document, text, True)
        assert 0.9 < answer.relevance <= 1.0001
    assert Answerer(laws).ask("Who has a right to education?", language="sw").citations[0].quote.startswith("Kila mtu")


def test_no_sentence_in_the_own_language_is_taken_that_says_something_else(laws: Index) -> None:
    answer = Answerer(laws).ask("Nani ana haki ya kupumzika?")
    assert answer.text.startswith("Everyone has the right to rest.") or answer.text.startswith("Каждый")
    assert answer.language == "sw"


def test_two_passages_in_the_own_language_are_shown_beside_the_best(tmp_path: Path, embedder: ToyEmbedder) -> None:
    with Index.create(tmp_path / "index", embedder, identify_languages=False) as index:
        index.add([Document(f"en{at}", f"education education right {at}", language="en") for at in range(10)])
        index.add([Document(f"sw{at}", f"elimu {at}", language="sw-KE") for at in range(4)])
        answer = Answerer(index, k=3).ask("education education right", language="sw")
        found = [found.hit.document_id for found in answer.passages]
        assert [name[:2] for name in found] == ["en", "en", "en", "sw", "sw"]
        assert [found.number for found in answer.passages] == [1, 2, 3, 4, 5]
        assert len(Answerer(index, k=1).ask("education education right", language="sw").passages) == 2
        only = Answerer(index, k=3).ask("education", language="sw", languages=["en"])
        assert [found.hit.language for found in only.passages] == ["en"] * 3
        # Nothing is shown twice.
        own = Answerer(index, k=14).ask("elimu", language="sw")
        assert len({found.hit.id for found in own.passages}) == len(own.passages) == 14


def test_options_are_those_of_a_search(laws: Index, embedder: ToyEmbedder) -> None:
    for options in ({"where": "year = 1966"}, {"languages": ["zh", "de"]}):
        answer = Answerer(laws, min_relevance=0).ask("Who has a right to education?", **options)  # type: ignore[arg-type]
        assert {found.hit.document_id for found in answer.passages} <= {"edu-zh", "rest-ru", "marry-de"}
        assert answer.citations[0].passage.hit.document_id == "edu-zh"
    embedder.asked.clear()
    Answerer(laws).ask("Who has a right to education?", instruction="find laws")
    assert set(embedder.asked) == {"find laws"}
    reranked = Answerer(Retriever(laws, group_documents=True), k=2).ask("education")
    assert len(reranked.passages) >= 2
    for wrong, message in [
        ({"mode": "telepathy"}, "mode is 'telepathy'"),
        ({"languages": ["fr"]}, "no passage has the language 'fr'"),
        ({"languages": []}, "languages is []"),
        ({"where": "nothing = 1"}, "nothing"),
    ]:
        with pytest.raises(InvalidArgumentError) as raised:
            Answerer(laws).ask("education", **wrong)  # type: ignore[arg-type]
        assert message in str(raised.value)


def test_refusals(laws: Index, tmp_path: Path, embedder: ToyEmbedder) -> None:
    off = Answerer(laws).ask("Where is the station?")
    assert (off.refusal, off.text, off.citations) == (Refusal.NOT_RELEVANT, "", ())
    assert off.relevance < 0.35
    assert off.passages
    generator = Scripted("Never asked.")
    assert Answerer(laws, generator).ask("Where is the station?").refusal is Refusal.NOT_RELEVANT
    assert generator.prompts == []
    assert Answerer(laws, min_relevance=0).ask("Where is the station?").answered
    assert Answerer(laws, min_relevance=1).ask("education work").refusal is Refusal.NOT_RELEVANT
    nothing = Answerer(laws).ask("education", where="year > 2000")
    assert (nothing.refusal, nothing.passages, nothing.relevance) == (Refusal.NOTHING_FOUND, (), 0.0)
    with Index.create(tmp_path / "empty", embedder) as empty:
        assert Answerer(empty, Scripted("x")).ask("education").refusal is Refusal.NOTHING_FOUND


@pytest.mark.parametrize(
    "pieces",
    [("NO ", "ANSWER"), ("**no", "", " answer", ".**"), ("<thi", "nk>hm</think>\n\nNO AN", "SWER [1]"),
     ("N", "O ANSWER: it is not there")]
)  # fmt: skip
def test_a_generator_says_that_there_is_none(laws: Index, pieces: tuple[str, ...]) -> None:
    said: list[str] = []
    answer = Answerer(laws, Scripted(*pieces)).ask("education", on_text=said.append)
    assert (answer.refusal, answer.text, answer.citations) == (Refusal.NOT_IN_PASSAGES, "", ())
    assert answer.passages
    assert said == []


@pytest.mark.parametrize("pieces", [(), ("", " \n"), ("<think>What is", " it that")])
def test_a_generator_that_says_nothing_has_failed(laws: Index, pieces: tuple[str, ...]) -> None:
    with pytest.raises(ModelError, match="scripted wrote no answer within 33 tokens; allow more with max_tokens"):
        Answerer(laws, Scripted(*pieces), max_tokens=33).ask("education")


def test_a_generated_answer_is_passed_on_and_cited(laws: Index) -> None:
    generator = Scripted("<think>[4]", "</think>\n", " Nobody is asked: ", "education", " is a right [1", "].\n")
    said: list[str] = []
    answer = Answerer(laws, generator, max_tokens=77).ask("Who has a right to education?", on_text=said.append)
    check(answer, LAWS)
    assert answer.text == "Nobody is asked: education is a right [1]."
    assert said == ["Nobody is asked: ", "education", " is a right [1", "].\n"]
    assert (answer.generator, answer.refusal, generator.max_tokens) == ("scripted", None, [77])
    assert [(found.passage.number, found.quote) for found in answer.citations] == [(1, "人人都有受教育的权利。")]
    (prompt,) = generator.prompts
    assert shown_numbers(prompt) == [found.number for found in answer.passages]
    assert "Answer in English" in prompt
    assert "Answer in Swahili" in asked_in(laws, "sw")
    assert asked_in(laws, "") == asked_in(laws, None)


def asked_in(index: Index, language: str | None) -> str:
    generator = Scripted("So.")
    Answerer(index, generator).ask("Who has a right to education?", language=language)
    return generator.prompts[0]


def test_words_that_begin_like_a_refusal_are_held_until_they_are_none(laws: Index) -> None:
    said: list[str] = []
    answer = Answerer(laws, Scripted("No", " an", "imal", " has it.")).ask("education", on_text=said.append)
    assert said == ["No animal", " has it."]
    assert answer.text == "No animal has it."
    said.clear()
    assert Answerer(laws, Scripted("No", ".")).ask("education", on_text=said.append).text == "No."
    assert said == ["No."]


def test_unmarked_answers_are_cited_by_likeness(laws: Index) -> None:
    answer = Answerer(laws, Scripted("All may rest. The sky is blue.")).ask("the right to rest")
    (citation,) = answer.citations
    assert (citation.quote, citation.marked) == ("Everyone has the right to rest.", False)
    assert Answerer(laws, Scripted("The sky is blue.")).ask("education").citations == ()


def test_only_what_was_shown_counts(laws: Index) -> None:
    generator = Scripted("Rest [1], [2], [3], [4].")
    every = Answerer(laws, generator, max_tokens=10).ask("Who has a right to education?").passages
    generator.context_tokens = len(generator.prompts.pop()) - 80
    answer = Answerer(laws, generator, max_tokens=10).ask("Who has a right to education?")
    shown = shown_numbers(generator.prompts[0])
    assert [found.number for found in answer.passages] == shown
    assert 0 < len(shown) < len(every)
    assert {found.passage.number for found in answer.citations} == set(shown) & {1, 2, 3, 4}
    check(answer, LAWS)
    with pytest.raises(InvalidArgumentError, match="no room for passages"):
        Answerer(laws, generator, max_tokens=800).ask("Who has a right to education?")


def test_the_prompt_can_be_another(laws: Index) -> None:
    def shout(question: str, passages: Sequence[Passage], language: str | None) -> list[Message]:
        return [{"role": "user", "content": f"{question.upper()} {language} {len(passages)}"}]

    generator = Scripted("So.")
    Answerer(laws, generator, prompt=shout, k=2).ask("Education?", language="en")
    assert generator.prompts == ["EDUCATION? en 3"]  # k, and one in English besides


def test_chunks_of_a_document_are_one_passage(tmp_path: Path) -> None:
    text = "  " + "\n\n ".join(f"Clause {at} is on education and rest and work." for at in range(12)) + " \n"
    documents = [Document("long", text, language="en"), Document("marks", "?! ... --- !!!", language="en")]
    with Index.create(tmp_path / "index", Splitting(), overlap=0) as index:
        index.add(documents)
        assert index.info()["passages"] > 6
        answer = Answerer(index, k=50).ask("education rest work")
        check(answer, documents)
        whole = answer.passages[0]
        assert whole.text.split() == text.split()
        assert (whole.start, whole.end) == (2, len(text) - 2)
        some = Answerer(index, Scripted("It is so [1]."), k=3).ask("education rest work")
        check(some, documents)
        assert len(some.citations) == 1


def test_odd_documents(tmp_path: Path, embedder: ToyEmbedder) -> None:
    documents = [
        Document("marks", "?! ... --- !!!"),
        Document("endless", "education" * 3000),
        Document("twice", "?! ... --- !!!"),
        Document("emoji", "🎓" * 1500 + " work"),
        Document("zero", "\u200b"),
    ]
    with Index.create(tmp_path / "index", embedder) as index:
        index.add(documents)
        answer = Answerer(index).ask("education")
        check(answer, documents)
        assert len(answer.passages) == 4
        assert len(answer.citations[0].quote) == 1000
        marks = Answerer(index, min_relevance=0).ask("station", where="id = 'marks'")
        check(marks, documents)
        assert Answerer(index, Scripted("Work [1]."), min_relevance=0).ask("🎓").citations


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k is 0; it must be a whole number of at least 1"),
        ({"max_tokens": 2.5}, "max_tokens is 2.5; it must be a whole number"),
        ({"min_relevance": 1.5}, "min_relevance is 1.5; it must be a number from 0 (off) to 1"),
        ({"min_relevance": float("nan")}, "min_relevance is nan"),
        ({"min_relevance": "high"}, "min_relevance is 'high'"),
        ({"generator": "gpt"}, "generator is 'gpt'; it must have name, context_tokens, count_tokens and generate"),
        ({"index": "dir"}, "index is 'dir'; it must be an Index or a Retriever"),
    ],
)
def test_wrong_arguments(laws: Index, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        Answerer(**{"index": laws} | arguments)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("question", "language", "message"),
    [
        ("", None, "the query is empty"),
        (" \n", "en", "the query is empty"),
        (5, None, "a query must be a str, not int"),
        ("x", 5, "language is 5"),
    ],
)
def test_wrong_questions(laws: Index, question: Any, language: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Answerer(laws).ask(question, language=language)


def test_what_the_listener_raises_ends_the_generator(laws: Index) -> None:
    generator = Scripted("One ", "two ", "three.")

    def hang_up(text: str) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError) as kept:  # which keeps all frames alive
        Answerer(laws, generator).ask("education", on_text=hang_up)
    assert generator.closed
    assert kept.value


class Failing(Scripted):
    def generate(self, messages: Sequence[Message], *, max_tokens: int) -> Iterator[str]:
        yield "One "
        raise ModelError("out of memory")


def test_failures_of_the_generator_are_passed_on(laws: Index) -> None:
    with pytest.raises(ModelError, match="out of memory"):
        Answerer(laws, Failing()).ask("education")


def test_pieces_may_be_any_iterable(laws: Index) -> None:
    class Listing(Scripted):
        def generate(self, messages: Sequence[Message], *, max_tokens: int) -> Iterator[str]:
            return iter(["All ", "may [1]."])

    assert Answerer(laws, Listing()).ask("education").text == "All may [1]."


def test_one_state_of_the_index_whatever_is_written_meanwhile(laws: Index) -> None:
    class Changing:
        """A reranker between whose two searches the index becomes another."""

        def score(self, query: str, hits: Sequence[Hit]) -> list[float]:
            laws.delete(document.id for document in LAWS)
            laws.add([Document("late", "education, late", language="en")])
            return [1.0] * len(hits)

    answer = Answerer(Retriever(laws, reranker=Changing())).ask("education", language="en")
    assert {found.hit.document_id for found in answer.passages} == {document.id for document in LAWS}
    assert [found.hit.document_id for found in Answerer(laws).ask("education").passages] == ["late"]


def test_many_threads_ask_while_one_writes(laws: Index) -> None:
    answerer = Answerer(laws, Scripted("Education [1]."))
    stop, failures = threading.Event(), []

    def ask() -> None:
        try:
            while not stop.is_set():
                answer = answerer.ask("Who has a right to education?")
                for citation in answer.citations:
                    document, place = citation.passage.text, citation.passage.start
                    assert document[citation.start - place : citation.end - place] == citation.quote
                    assert citation.passage in answer.passages
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for version in range(6):
        laws.add([Document("edu-en", f"Version {version}. All have education {version}.", language="en")])
        laws.delete(["rest-en"])
        laws.add([Document("rest-en", "Rest is a right.", language="en")])
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_embedded_model_answers_across_languages(tmp_path: Path, mini: Embedder) -> None:
    documents = [
        Document("edu", "Everyone has the right to education. Education shall be free.", language="en"),
        Document("travail", "Toute personne a droit au travail. Elle choisit librement son travail.", language="fr"),
        Document("отдых", "Каждый человек имеет право на отдых и досуг.", language="ru"),
    ]
    with Index.create(tmp_path / "index", mini) as index:
        index.add(documents)
        answerer = Answerer(index)
        for question, document in [("Nani ana haki ya kupata elimu?", "edu"), ("Кто имеет право на отдых?", "отдых")]:
            answer = answerer.ask(question)
            check(answer, documents)
            assert answer.citations[0].passage.hit.document_id == document, question
        assert answerer.ask("How do I bake bread?").refusal is Refusal.NOT_RELEVANT
        said = Answerer(index, Scripted("Jeder hat ein Recht auf Bildung [1].")).ask("Wer hat ein Recht auf Bildung?")
        assert [found.quote for found in said.citations] == ["Everyone has the right to education."]
        assert said.language == "de"


def test_every_error_is_of_lusirag(laws: Index) -> None:
    laws.close()
    with pytest.raises(LusiragError, match="closed"):
        Answerer(laws).ask("education")


def test_the_toy_is_what_it_says() -> None:
    assert vectors_of(["a", "elimu"]).shape == (2, DIMENSION)
    assert passage(1, "x").text == "x"
