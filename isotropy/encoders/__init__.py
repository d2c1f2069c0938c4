"""Embeddings of texts, and encoders with a correction inside."""

from isotropy.encoders._check import Parity, check, save
from isotropy.encoders._encode import encode, encode_blocks
from isotropy.encoders._models import bundled_minilm
from isotropy.encoders._profile import LayerProfile, layer_profile
from isotropy.encoders._tokens import MultiVectorCorrector
from isotropy.encoders._wrap import wrap

__all__ = [
    "LayerProfile",
    "MultiVectorCorrector",
    "Parity",
    "bundled_minilm",
    "check",
    "encode",
    "encode_blocks",
    "layer_profile",
    "save",
    "wrap",
]
