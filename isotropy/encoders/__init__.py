"""Embeddings of texts, from a sentence-transformers encoder or from one of its inner layers."""

from isotropy.encoders._encode import encode, encode_blocks
from isotropy.encoders._models import bundled_minilm

__all__ = ["bundled_minilm", "encode", "encode_blocks"]
