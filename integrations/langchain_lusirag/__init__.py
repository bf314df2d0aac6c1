"""lusirag for LangChain."""
