"""Fitted corrections in the formats that people already run."""

from isotropy.export.dense import to_dense
from isotropy.export.faiss import prepend, to_faiss
from isotropy.export.npz import to_npz
from isotropy.export.onnx import to_onnx
from isotropy.export.safetensors import to_safetensors
from isotropy.export.write import write

__all__ = ["prepend", "to_dense", "to_faiss", "to_npz", "to_onnx", "to_safetensors", "write"]
