"""Questions in any language about passages in any language: a LangChain app of 60 lines.

It is the app of LangChain's tutorials, with HuggingFaceEmbeddings and FAISS replaced; the README of langchain_lusirag
shows the lines that differ. In the place of the chat model stands a function that quotes, so that the app runs with no
download: put ChatOpenAI(...) or any other model there.
"""

import sys

from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompt_values import PromptValue
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from langchain_lusirag import LusiferEmbeddings, LusiragVectorStore

PASSAGES = {
    "en": "Men and women of full age have the right to marry and to found a family.",
    "sw": "Kila mtu ana haki ya kupata elimu. Elimu yapasa itolewe bure.",
    "de": "Jeder hat das Recht auf Arbeit, auf freie Berufswahl und auf Schutz vor Arbeitslosigkeit.",
    "ru": "Каждый человек имеет право на отдых и досуг, включая оплачиваемый периодический отпуск.",
    "ja": "何人も、奴隷にされ、又は苦役に服することはない。",
    "es": "Toda persona tiene derecho a salir de cualquier país, incluso del propio, y a regresar a su país.",
}
QUESTIONS = ["A escola é gratuita?", "Is slavery allowed?", "Kan ik mijn land verlaten?"]

documents = [
    Document(page_content=text, metadata={"source": f"udhr/{language}", "length": len(text)})
    for language, text in PASSAGES.items()
]
embeddings = LusiferEmbeddings(
    model_name="lusifer-mini",
    model_kwargs={"device": "cpu"},
    encode_kwargs={"normalize_embeddings": True},
)
store = LusiragVectorStore.from_documents(documents, embeddings)
retriever = store.as_retriever(search_kwargs={"k": 1})


def as_context(found: list[Document]) -> str:
    return "\n".join(f"{document.page_content} [{document.metadata['source']}]" for document in found)


def quote(prompt: PromptValue) -> AIMessage:
    """Stands for a chat model: repeats the context that it was given."""
    return AIMessage(str(prompt.to_messages()[-1].content).split("\n\n")[1])


chain = (
    {"context": retriever | as_context, "question": RunnablePassthrough()}
    | ChatPromptTemplate.from_template("Answer from the context alone.\n\n{context}\n\nQuestion: {question}")
    | RunnableLambda(quote)
    | StrOutputParser()
)

for question in sys.argv[1:] or QUESTIONS:
    print(f"{question}\n  {chain.invoke(question)}")
