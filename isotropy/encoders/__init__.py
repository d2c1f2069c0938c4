"""Embeddings of texts, and encoders with a correction inside."""

from isotropy.encoders._check import Parity, check, save
from isotropy.encoders._counts import token_counts, token_weights
from isotropy.encoders._encode import encode, encode_blocks
from isotropy.encoders._language import perplexity, unembedding_filter
from isotropy.encoders._modalities import ModalityEncoder, ModalityReport, wrap_modalities
from isotropy.encoders._models import bundled_minilm
from isotropy.encoders._profile import LayerProfile, layer_profile
from isotropy.encoders._tables import TiedTableWarning, correct_tokens
from isotropy.encoders._tokens import MultiVectorCorrector
from isotropy.encoders._wrap import wrap

__all__ = [
    "LayerProfile",
    "ModalityEncoder",
    "ModalityReport",
    "MultiVectorCorrector",
    "Parity",
    "TiedTableWarning",
    "bundled_minilm",
    "check",
    "correct_tokens",
    "encode",
    "encode_blocks",
    "layer_profile",
    "perplexity",
    "save",
    "token_counts",
    "token_weights",
    "unembedding_filter",
    "wrap",
    "wrap_modalities",
]
