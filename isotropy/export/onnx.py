"""An ONNX model, built node by node."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from isotropy._optional import require
from isotropy.export.parts import parts_of
from isotropy.storage.state import library_version
from isotropy.storage.whole import whole_file

__all__ = ["to_onnx"]

_OPSET = 18
_SMALLEST = 1e-12  # a shorter row has no direction to keep


def to_onnx(
    corrector: Any, path: str | os.PathLike[str] | None = None, *, normalize: bool | None = None
) -> Any:
    """The correction as an ONNX model of float32 rows, for a batch of any size.

    Parameters
    ----------
    corrector : AffineMap or fitted affine corrector
        From d to k dimensions. Where it removes r directions, the model holds 2 r d numbers.
        Queries that it knows are left aside: pass ``corrector.for_queries()`` for their map.
    path : path-like, optional
        File to write; it appears whole or not at all.
    normalize : bool, optional
        Whether to scale the result to length one; by default what the corrector does.

    Returns
    -------
    onnx.ModelProto
        Input "embeddings" of shape (batch, d), output "corrected" of shape (batch, k); opset 18.

    Raises
    ------
    ValueError
        If the corrector is not affine or not fitted.
    FileError
        If the file cannot be written.
    ImportError
        If onnx is missing (``isotropy[export]``).

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import MeanRemoval
    >>> from isotropy.export import to_onnx
    >>> model = to_onnx(MeanRemoval().fit(np.eye(2)))
    >>> [entry.name for entry in model.graph.output]
    ['corrected']
    """
    onnx = require("onnx", extra="export")
    affine, before, after = parts_of(corrector, normalize)
    graph = _Graph(onnx)
    rows = graph.unit("embeddings") if before else "embeddings"
    rows = graph.add("Sub", rows, graph.constant(affine.mean))
    if affine.removed is not None:
        left, right = (graph.constant(part) for part in affine.removed)
        along = graph.add("MatMul", graph.add("MatMul", rows, left), right)
        rows = graph.add("Sub", rows, along)
    elif affine._dense is not None:
        rows = graph.add("MatMul", rows, graph.constant(affine._dense))
    rows = graph.add("Add", rows, graph.constant(affine.offset))
    rows = graph.unit(rows) if after else rows
    graph.add("Identity", rows, output="corrected")
    model = graph.model(affine.n_features_in, affine.n_features_out)
    told = {"isotropy_version": library_version(), "corrector": type(corrector).__name__}
    onnx.helper.set_model_props(model, told)
    onnx.checker.check_model(model)
    if path is not None:
        with whole_file(path) as file:
            file.write(model.SerializeToString())
    return model


class _Graph:
    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, values: np.ndarray, dtype: Any = np.float32) -> str:
        name = f"constant_{len(self.constants)}"
        tensor = self.onnx.numpy_helper.from_array(np.asarray(values, dtype=dtype), name)
        self.constants.append(tensor)
        return name

    def add(self, kind: str, *inputs: str, output: str | None = None, **options: Any) -> str:
        name = output or f"value_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), [name], **options))
        return name

    def unit(self, rows: str) -> str:
        axes = self.constant(np.array([1]), np.int64)
        length = self.add("ReduceL2", rows, axes, keepdims=1)
        length = self.add("Max", length, self.constant(np.array(_SMALLEST)))
        return self.add("Div", rows, length)

    def model(self, d: int, k: int) -> Any:
        helper, kind = self.onnx.helper, self.onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self.nodes,
            "isotropy",
            [helper.make_tensor_value_info("embeddings", kind, ["batch", d])],
            [helper.make_tensor_value_info("corrected", kind, ["batch", k])],
            self.constants,
        )
        opset = helper.make_opsetid("", _OPSET)
        return helper.make_model(
            graph, opset_imports=[opset], ir_version=9, producer_name="isotropy"
        )
