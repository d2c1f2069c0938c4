"""Fitted corrections in the formats that people already run."""

from isotropy.export.dense import to_dense
from isotropy.export.faiss import prepend, to_faiss
from isotropy.export.onnx import to_onnx
from isotropy.export.plain import to_npz, to_safetensors

__all__ = ["prepend", "to_dense", "to_faiss", "to_npz", "to_onnx", "to_safetensors"]
