"""Corrected embeddings for LangChain and LlamaIndex."""
