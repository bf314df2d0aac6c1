"""lusirag for LlamaIndex."""
