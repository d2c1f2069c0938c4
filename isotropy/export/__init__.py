"""Fitted corrections in the formats that people already run."""

from ._dense import to_dense
from ._faiss import prepend, to_faiss
from ._onnx import to_onnx
from ._plain import to_npz, to_safetensors

__all__ = ["prepend", "to_dense", "to_faiss", "to_npz", "to_onnx", "to_safetensors"]
