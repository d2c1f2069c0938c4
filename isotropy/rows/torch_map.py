"""Affine maps as torch modules; imported only where torch is asked for."""

from __future__ import annotations

import numpy as np
import torch

__all__ = ["AffineModule", "unit_rows"]


def unit_rows(x: torch.Tensor) -> torch.Tensor:
    """Rows scaled to length one, whatever their scale; a zero row stays zero.

    Parameters
    ----------
    x : torch.Tensor of shape (n, d), floating

    Returns
    -------
    torch.Tensor of shape (n, d)
        Differentiable; the gradient at a zero row is finite.

    Examples
    --------
    >>> import torch
    >>> unit_rows(torch.tensor([[0.0, 4e30], [0.0, 0.0]])).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    if not x.shape[1]:
        return x
    # By the largest entry first: squares would overflow or vanish. A constant, as the length of a
    # unit row does not depend on it.
    largest = x.detach().abs().amax(dim=1, keepdim=True)
    x = x / (largest + (largest == 0))
    # The gradient of a norm at zero is not defined: a zero row gets a constant in its place.
    return x / (x + (largest == 0)).norm(dim=1, keepdim=True)


class AffineModule(torch.nn.Module):
    """``y = (x - mean) A + offset`` over the last dimension, with optional scaling to length one.

    Rows are computed in float32 at least, and come back in their own type.

    Parameters
    ----------
    mean : ndarray of shape (d,)
    matrix : ndarray of shape (d, k)
    offset : ndarray of shape (k,)
    normalize : {"none", "before", "after", "both"}, default="none"

    Examples
    --------
    >>> import numpy as np, torch
    >>> module = AffineModule(np.ones(2), 2 * np.eye(2), np.zeros(2))
    >>> module(torch.tensor([1.0, 3.0])).tolist()
    [0.0, 4.0]
    """

    mean: torch.Tensor
    matrix: torch.Tensor
    offset: torch.Tensor

    def __init__(
        self, mean: np.ndarray, matrix: np.ndarray, offset: np.ndarray, normalize: str = "none"
    ) -> None:
        super().__init__()
        self.normalize = normalize
        for name, array in (("mean", mean), ("matrix", matrix), ("offset", offset)):
            # A copy of its own, in one order: a loaded module runs the code of the saved one.
            self.register_buffer(name, torch.tensor(np.ascontiguousarray(array, np.float32)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map rows of any number of leading dimensions.

        Parameters
        ----------
        x : torch.Tensor of shape (..., d)

        Returns
        -------
        torch.Tensor of shape (..., k)
            Of the floating type of `x`.

        Examples
        --------
        >>> import numpy as np, torch
        >>> AffineModule(np.ones(2), np.eye(2), np.zeros(2)).forward(torch.ones(3, 4, 2)).shape
        torch.Size([3, 4, 2])
        """
        rows = x.reshape(-1, x.shape[-1])
        rows = rows.to(torch.promote_types(rows.dtype, self.matrix.dtype))
        if self.normalize in ("before", "both"):
            rows = unit_rows(rows)
        mean, matrix, offset = (b.to(rows.dtype) for b in (self.mean, self.matrix, self.offset))
        rows = (rows - mean) @ matrix + offset
        if self.normalize in ("after", "both"):
            rows = unit_rows(rows)
        dtype = x.dtype if x.is_floating_point() else rows.dtype
        return rows.reshape(*x.shape[:-1], -1).to(dtype)

    def extra_repr(self) -> str:
        """Dimensions in and out, and the scaling, as ``print`` shows them."""
        d, k = self.matrix.shape
        return f"{d}, {k}, normalize={self.normalize!r}"
