"""From a question in any language to an answer from the passages of an index, with citations.

    answerer = Answerer(index)                                    # extractive: quotes the best sentence
    answerer = Answerer(index, OpenAIGenerator("gpt-5-mini"))     # or any other language model
    answer = answerer.ask("Nani ana haki ya kupata elimu?")
    answer.text, answer.citations, answer.answered

`Answerer` (answerer.py) is the main path; each of its steps is a file of its own.
"""

from lusirag.rag.answer import Answer, Citation, Passage, Refusal
from lusirag.rag.answerer import Answerer
from lusirag.rag.causal_lm import CausalLMGenerator
from lusirag.rag.generator import Generator, Message
from lusirag.rag.openai_generator import OpenAIGenerator
from lusirag.rag.prompt import build_prompt

__all__ = [
    "Answer",
    "Answerer",
    "CausalLMGenerator",
    "Citation",
    "Generator",
    "Message",
    "OpenAIGenerator",
    "Passage",
    "Refusal",
    "build_prompt",
]
