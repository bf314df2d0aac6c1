"""How good extractive answers are, and how well questions that an index cannot answer are told.

    python -m benchmarks.answers
    python -m benchmarks.answers --questions 20    # a quick look

One index holds the passages of three question sets: Arabic (ARCD), Persian (PersianQA) and Indonesian (FacQA). Each
question is asked of all of them: does the quoted sentence hold the answer that the set gives (Arabic and Persian; the
Indonesian set gives none)? Beside it the first sentence of the best passage, and the share of questions for which any
passage that was retrieved holds it. Then each is asked of the passages of the other two sets alone, which are about
other things: how many are refused? And the demo's twelve questions of the Universal Declaration in 92 languages: how
many are answered, from the right article, in the language of the question. Milliseconds are of one question, embedding
of the passages' sentences included.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.sets import environment, require_sets
from lusirag import Document, Embedder, Index
from lusirag.corpus import Corpus, sentence_spans
from lusirag.embedding.catalog import ASSETS
from lusirag.rag import Answer, Answerer, Passage

SETS = ("arcd", "persianqa", "facqa")


def main() -> None:
    """Index, ask, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--questions", type=int, default=200, help="of each set (default: %(default)s)")
    parser.add_argument("--model", default="lusifer-mini", help="(default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    rows = pq.read_table(require_sets() / "qa.parquet").to_pylist()
    embedder = Embedder.load(options.model)
    figures: dict[str, Any] = {"environment": environment(), "model": options.model}
    with tempfile.TemporaryDirectory() as folder:
        with Index.create(Path(folder, "questions"), embedder) as index:
            index.add(
                Document(row["id"], row["text"], language=row["lang"], metadata={"set": row["set"]})
                for row in rows
                if row["role"] == "doc"
            )
            answerer = Answerer(index)
            for name in SETS:
                asked = [row for row in rows if row["set"] == name and row["role"] == "query"]
                some = random.Random(0).sample(asked, min(options.questions, len(asked)))
                figures[name] = ask_set(answerer, name, some)
                print(name, figures[name], flush=True)
        with Index.create(Path(folder, "declaration"), embedder) as index:
            index.add(Corpus([ASSETS / "udhr.parquet"]))
            figures["declaration"] = ask_declaration(Answerer(index))
    print(json.dumps(figures, indent=1, ensure_ascii=False))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", "utf-8")


def ask_set(answerer: Answerer, name: str, questions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Ask the questions of a set of all passages, and of those of the other sets."""
    answers, milliseconds = [], []
    for row in questions:
        started = time.perf_counter()
        answers.append(answerer.ask(row["text"], language=row["lang"]))
        milliseconds.append(1000 * (time.perf_counter() - started))
    elsewhere = [answerer.ask(row["text"], where={"set": {"$neq": name}}) for row in questions]
    figures = {
        "questions": len(questions),
        "refused": share([not answer.answered for answer in answers]),
        "refused_where_other_sets_alone_are_searched": share([not answer.answered for answer in elsewhere]),
        "ms_a_question_p50": round(statistics.median(milliseconds)),
    }
    if questions[0]["answer"]:
        golds = [row["answer"] for row in questions]
        figures |= {
            "quoted_sentence_holds_the_answer": share(map(holds, [answer.text for answer in answers], golds)),
            "first_sentence_of_the_best_passage_does": share(map(holds, map(first_sentence, answers), golds)),
            "a_retrieved_passage_does": share(
                any(holds(passage.text, gold) for passage in answer.passages)
                for answer, gold in zip(answers, golds, strict=True)
            ),
        }
    return figures


def ask_declaration(answerer: Answerer) -> dict[str, Any]:
    """Ask the demo's questions, each in its own language."""
    questions = json.loads((ASSETS / "demo_questions.json").read_text("utf-8"))
    cited = [answerer.ask(question["text"]).citations for question in questions]
    hits = [citations[0].passage.hit if citations else None for citations in cited]
    return {
        "questions": len(questions),
        "answered": sum(hit is not None for hit in hits),
        "from_the_right_article": sum(
            hit is not None and hit.metadata["article"] == question["article"]
            for hit, question in zip(hits, questions, strict=True)
        ),
        "in_the_language_of_the_question": sum(
            hit is not None and hit.language == question["language"]
            for hit, question in zip(hits, questions, strict=True)
        ),
    }


def first_sentence(answer: Answer) -> str:
    """What quoting the beginning of the best passage would have answered."""
    best: Passage = answer.passages[0]
    return best.text[slice(*sentence_spans(best.text, best.hit.language)[0])]


def holds(text: str, gold: str) -> bool:
    """True when an answer stands in a text, letters and digits compared alone."""
    return plain(gold) in plain(text)


def plain(text: str) -> str:
    """Letters and digits of a text, in lower case and one form."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text))).lower()


def share(true: Any) -> float:
    """Of a sequence of truths, to three digits."""
    values = [bool(value) for value in true]
    return round(sum(values) / len(values), 3)


if __name__ == "__main__":
    main()
