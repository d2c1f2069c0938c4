"""Losses of the cosines between rows, from sums of unit rows: no matrix of pairs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from isotropy.losses._base import (
    MomentRegularizer,
    UnitMoments,
    bibtex,
    full_precision,
    living,
    unit_rows,
)

__all__ = ["MeanCosine", "SpreadOut", "mean_cosine", "spread_out"]

_BLOCK_BYTES = 2**20


class _MeanOfUnitRows(torch.autograd.Function):
    """Mean of the rows scaled to length one, zero rows left out, and their number.

    Reads the matrix once forward and once backward, in blocks that stay in the cache, and holds
    one number a row beside the gradient.
    """

    @staticmethod
    def forward(ctx: Any, X: Tensor) -> tuple[Tensor, Tensor]:
        total = X.new_zeros(X.shape[1], dtype=torch.float64 if X.device.type == "cpu" else X.dtype)
        inverse = X.new_empty(len(X))
        step = _rows_at_once(X)
        for start in range(0, len(X), step):
            block = X[start : start + step]
            own = _inverse_lengths(block, inverse[start : start + step])
            total += own @ block if _is_finite(own) else unit_rows(block).sum(0)
        n = (inverse > 0).sum()
        mean = (total / n.clamp(min=1)).to(X.dtype)
        ctx.save_for_backward(X, inverse, n)
        ctx.mark_non_differentiable(n)
        return mean, n

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> Tensor:
        X, inverse, n = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted: as a function of X
            mean, _ = _mean_of_unit_rows(X)
            return torch.autograd.grad(mean, X, gradient, create_graph=True)[0]
        with torch.autocast(X.device.type, enabled=False):
            gradient = (gradient / n.clamp(min=1)).to(X.dtype)
            out, step = torch.empty_like(X), _rows_at_once(X)
            for start in range(0, len(X), step):
                block, own = X[start : start + step], inverse[start : start + step]
                if not _is_finite(own):
                    out[start : start + step] = _plain_gradient(block, gradient)
                    continue
                along = (block @ gradient) * own * own
                into = out[start : start + step]
                # (g - (g.x^) x^) / |x|
                torch.addcmul(gradient, block, along[:, None], value=-1, out=into)
                into *= own[:, None]
        return out


def _mean_of_unit_rows(X: Tensor) -> tuple[Tensor, Tensor]:
    """The same, plainly."""
    U = unit_rows(X)
    n = living(U).sum()
    return U.sum(0) / n.clamp(min=1), n


def _plain_gradient(block: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of rows so short that one over their length leaves the range of the type."""
    with torch.enable_grad():
        leaf = block.detach().requires_grad_()
        return torch.autograd.grad(unit_rows(leaf).sum(0), leaf, gradient)[0]


def _is_finite(numbers: Tensor) -> bool:
    return bool(torch.isfinite(numbers).all())


def _rows_at_once(X: Tensor) -> int:
    if X.device.type != "cpu":
        return max(1, len(X))
    return max(64, _BLOCK_BYTES // max(1, X.shape[1] * X.element_size()))


def _inverse_lengths(block: Tensor, into: Tensor) -> Tensor:
    lengths = torch.linalg.vector_norm(block, dim=1)
    # A square outside the range of the type makes a length of 0 or infinity out of a row.
    if not bool(torch.isfinite(lengths).all() & (lengths > 1e-18).all()):
        largest = block.abs().amax(dim=1)
        scaled = block / torch.where(largest > 0, largest, 1)[:, None]
        lengths = torch.linalg.vector_norm(scaled, dim=1) * largest
    return torch.reciprocal(torch.where(lengths > 0, lengths, torch.inf), out=into)


def _of_pairs(mean_square: Tensor, n: Tensor) -> Tensor:
    """The mean over different rows, given the mean over all pairs, whose n self-pairs are 1.

    0 for fewer than two rows.
    """
    most = n.clamp(min=2)
    return torch.where(n > 1, (mean_square - 1 / most) / (1 - 1 / most), 0 * mean_square)


@full_precision
def mean_cosine(X: Tensor) -> Tensor:
    r"""Mean cosine between two different rows, the cosine regularizer (MLE-CosReg).

    With s the sum of the unit rows, ``(|s|^2 - n) / (n (n - 1))``: all pairs, no n x n matrix.

    Parameters
    ----------
    X : tensor of shape (n, d)
        An embedding matrix, or the rows of a batch; more leading dimensions are flattened. Zero
        rows have no direction and are left out.

    Returns
    -------
    tensor, scalar
        In [-1 / (n - 1), 1]: the number of `isotropy.metrics.mean_cosine`. Ideal: 0 in the
        mean; minimising it goes below, down to the bound. 0 for fewer than two rows.

    Raises
    ------
    TypeError
        Where `X` is no floating-point torch tensor.
    ValueError
        Where `X` has fewer than two dimensions.

    Notes
    -----
    O(n d): one read of the matrix forward, one backward, memory of the gradient and one number a
    row. The paper divides by n^2, a factor (n - 1) / n. It moves the mean only: the spectrum may
    stay as narrow as it was.

    References
    ----------
    Gao et al. 2019, "Representation degeneration problem in training natural language generation
    models", equation 5.

    Examples
    --------
    >>> import torch
    >>> from isotropy.losses import mean_cosine
    >>> round(mean_cosine(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])).item(), 4)
    0.4714
    """
    return _mean_cosine(_unit_moments(X, gram=False))


def _unit_moments(X: Tensor, *, gram: bool) -> UnitMoments:
    if not gram:
        compiled = torch.compiler.is_compiling()  # a compiler fuses the plain form
        mean, n = (_mean_of_unit_rows if compiled else _MeanOfUnitRows.apply)(X)
        return UnitMoments(mean, None, n.to(X.dtype))
    U = unit_rows(X)
    n = living(U).sum().to(X.dtype)
    most = n.clamp(min=1)
    return UnitMoments(U.sum(0) / most, U.T @ U / most, n)


def _mean_cosine(unit: UnitMoments) -> Tensor:
    return _of_pairs(unit.mean.square().sum(), unit.n)


class MeanCosine(MomentRegularizer):
    """The cosine regularizer as a module: `mean_cosine` of the rows.

    Parameters
    ----------
    momentum : float in [0, 1), optional
        Carry the mean direction over batches, see `MomentRegularizer`.
    gather : bool, default=False
        Take the rows of all ranks, see `Regularizer`.

    Raises
    ------
    ValueError
        Where `momentum` is out of its range.

    Notes
    -----
    Cost and source as of `mean_cosine`.

    Examples
    --------
    >>> import torch
    >>> from isotropy.losses import MeanCosine
    >>> regularizer = MeanCosine()
    >>> embeddings = torch.nn.Embedding(100, 16)
    >>> regularizer(embeddings.weight).backward()
    """

    citation = bibtex(
        "gao2019representation",
        "Jun Gao and Di He and Xu Tan and Tao Qin and Liwei Wang and Tie-Yan Liu",
        "Representation Degeneration Problem in Training Natural Language Generation Models",
        2019,
        "1907.12009",
    )

    def measure(self, X: Tensor) -> Tensor:
        return _mean_cosine(self._running(_unit_moments(X, gram=False)))


@full_precision
def spread_out(X: Tensor, *, mean_weight: float = 1.0, second_moment_weight: float = 1.0) -> Tensor:
    r"""Spread-out loss, global orthogonal regularization (GOR): both moments of the cosines.

    ``mean_weight M1^2 + second_moment_weight max(0, M2 - 1 / d)`` with M1 and M2 the mean of the
    cosines between different rows and of their squares.

    Parameters
    ----------
    X : tensor of shape (n, d)
        Zero rows are left out.
    mean_weight, second_moment_weight : float, default=1.0
        EmbeddingGemma takes 0 and 1.

    Returns
    -------
    tensor, scalar
        From 0, the ideal, where cosines have the mean and the spread of uniform directions. M1 is
        `isotropy.metrics.mean_cosine`, M2 is its square plus that of `cosine_spread`. 0 for fewer
        than two rows.

    Raises
    ------
    TypeError
        Where `X` is no floating-point torch tensor.
    ValueError
        Where `X` has fewer than two dimensions.

    Notes
    -----
    O(n d^2) from the d x d second moment of the unit rows, or O(n^2 d) from the n x n cosines,
    whichever is smaller.

    References
    ----------
    Zhang et al. 2017, "Learning spread-out local feature descriptors", equations 5 to 7.

    Examples
    --------
    >>> import torch
    >>> from isotropy.losses import spread_out
    >>> spread_out(torch.eye(4)).item()
    0.0
    >>> spread_out(torch.ones(4, 4)).item()  # one direction: 1 + (1 - 1 / 4)
    1.75
    """
    U = unit_rows(X)
    n = living(U).sum().to(X.dtype)
    most = n.clamp(min=1)
    products = U.T @ U if len(U) > U.shape[1] else U @ U.T
    first = _of_pairs(U.sum(0).div(most).square().sum(), n)
    second = _of_pairs(products.div(most).square().sum(), n)
    return _spread_out(first, second, X.shape[1], mean_weight, second_moment_weight)


def _spread_out(first: Tensor, second: Tensor, d: int, *weights: float) -> Tensor:
    return weights[0] * first.square() + weights[1] * torch.relu(second - 1 / d)


class SpreadOut(MomentRegularizer):
    """Global orthogonal regularization as a module: `spread_out` of the rows.

    Parameters
    ----------
    mean_weight, second_moment_weight : float, default=1.0
        Of the two terms, see `spread_out`.
    momentum : float in [0, 1), optional
        Carry the moments over batches, see `MomentRegularizer`; takes the d x d form.
    gather : bool, default=False
        Take the rows of all ranks, see `Regularizer`.

    Raises
    ------
    ValueError
        Where `momentum` is out of its range.

    Notes
    -----
    Cost and source as of `spread_out`.

    Examples
    --------
    >>> import torch
    >>> from isotropy.losses import SpreadOut
    >>> SpreadOut(mean_weight=0.0)(torch.ones(4, 4)).item()
    0.75
    """

    citation = bibtex(
        "zhang2017learning",
        "Xu Zhang and Felix X. Yu and Sanjiv Kumar and Shih-Fu Chang",
        "Learning Spread-out Local Feature Descriptors",
        2017,
        "1708.06320",
    )

    def __init__(
        self,
        mean_weight: float = 1.0,
        second_moment_weight: float = 1.0,
        *,
        momentum: float | None = None,
        gather: bool = False,
    ) -> None:
        super().__init__(momentum=momentum, gather=gather)
        self.mean_weight, self.second_moment_weight = mean_weight, second_moment_weight

    def measure(self, X: Tensor) -> Tensor:
        weights = self.mean_weight, self.second_moment_weight
        if self.momentum is None or not self.training:
            return spread_out(X, mean_weight=weights[0], second_moment_weight=weights[1])
        unit = self._running(_unit_moments(X, gram=True))
        first = _of_pairs(unit.mean.square().sum(), unit.n)
        second = _of_pairs(unit.gram.square().sum(), unit.n)
        return _spread_out(first, second, X.shape[1], *weights)
