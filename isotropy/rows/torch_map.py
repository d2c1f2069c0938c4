"""Affine maps as torch modules; imported only where torch is asked for."""

from __future__ import annotations

import numpy as np
import torch

from isotropy.affine import AffineMap, Normalize, _unit_torch


class AffineModule(torch.nn.Module):
    """``y = (x - mean) A + offset`` over the last dimension, with optional scaling to length one.

    Rows are computed in float32 at least, and come back in their own type.
    """

    mean: torch.Tensor
    matrix: torch.Tensor
    offset: torch.Tensor

    def __init__(self, affine: AffineMap, normalize: Normalize = "none") -> None:
        super().__init__()
        self.normalize = normalize
        shift = affine.mean.astype(np.float32)
        arrays = {
            "mean": shift,
            "matrix": affine.matrix,
            "offset": affine._rest(shift.astype(np.float64)),
        }
        for name, array in arrays.items():
            self.register_buffer(name, torch.as_tensor(array, dtype=torch.float32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(..., d)`` to ``(..., k)``."""
        rows = x.reshape(-1, x.shape[-1])
        rows = rows.to(torch.promote_types(rows.dtype, self.matrix.dtype))
        if self.normalize in ("before", "both"):
            rows = _unit_torch(rows)
        mean, matrix, offset = (b.to(rows.dtype) for b in (self.mean, self.matrix, self.offset))
        rows = (rows - mean) @ matrix + offset
        if self.normalize in ("after", "both"):
            rows = _unit_torch(rows)
        dtype = x.dtype if x.is_floating_point() else rows.dtype
        return rows.reshape(*x.shape[:-1], -1).to(dtype)

    def extra_repr(self) -> str:
        d, k = self.matrix.shape
        return f"{d}, {k}, normalize={self.normalize!r}"
