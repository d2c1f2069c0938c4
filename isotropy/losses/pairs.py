"""Losses of distances between rows on the sphere: uniformity, alignment, KoLeo."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from isotropy.losses._base import (
    Regularizer,
    RowRegularizer,
    bibtex,
    full_precision,
    living,
    nothing,
    unit_rows,
)

__all__ = ["Alignment", "KoLeo", "Uniformity", "alignment", "koleo", "uniformity"]

_BLOCK = 1024


class _LogMeanKernel(torch.autograd.Function):
    """Log of the mean of exp(-t |u_i - u_j|^2) over living i != j, in blocks.

    The gradient, 4 t sum_j k_ij u_j / sum_ij k_ij, is gathered beside the value while a block of
    the kernel is at hand, so no block is computed twice and none is kept.
    """

    @staticmethod
    def forward(ctx: Any, U: Tensor, live: Tensor, t: float) -> Tensor:
        wanted, n = ctx.needs_input_grad[0], len(U)
        pulls = torch.zeros_like(U) if wanted else None
        total = U.new_zeros((), dtype=torch.float64 if U.device.type == "cpu" else U.dtype)
        weights = live.to(U.dtype)
        for start in range(0, n, _BLOCK):
            rows = slice(start, start + _BLOCK)
            for other in range(start, n, _BLOCK):
                columns = slice(other, other + _BLOCK)
                kernel = U[rows] @ U[columns].T
                kernel.sub_(1).mul_(2 * t).exp_()
                if start == other:
                    kernel.fill_diagonal_(0)
                block = (kernel @ weights[columns]) * weights[rows]
                total += block.sum(dtype=total.dtype) * (1 if start == other else 2)
                if pulls is not None:  # zero rows pull at nothing: u_j is 0
                    pulls[rows].addmm_(kernel, U[columns])
                    if start != other:
                        pulls[columns].addmm_(kernel.T, U[rows])
        total = torch.where(total > 0, total, 1)
        if pulls is not None:
            pulls *= weights[:, None] * (4 * t / total).to(U.dtype)
            ctx.save_for_backward(pulls, U, live)
            ctx.t = t
        return (total.log() - _log_pairs(live).to(total)).to(U.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        pulls, U, live = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted: as a function of U
            kernel = _kernel(U, live, ctx.t)
            pulls = 4 * ctx.t * (kernel @ U) / kernel.sum().clamp(min=torch.finfo(U.dtype).tiny)
        return gradient * pulls, None, None


def _log_pairs(live: Tensor) -> Tensor:
    n = live.sum().to(torch.float64).clamp(min=2)
    return torch.log(n * (n - 1))


def _kernel(U: Tensor, live: Tensor, t: float) -> Tensor:
    """exp(-t |u_i - u_j|^2) of living i != j, 0 elsewhere."""
    pairs = live[:, None] & live & ~torch.eye(len(U), dtype=torch.bool, device=U.device)
    return torch.exp(2 * t * (U @ U.T - 1)) * pairs


def _log_mean_kernel(U: Tensor, live: Tensor, t: float) -> Tensor:
    if torch.compiler.is_compiling():  # a compiler fuses the plain form
        total = _kernel(U, live, t).sum()
        return torch.where(total > 0, total, 1).log() - _log_pairs(live).to(U)
    value: Tensor = _LogMeanKernel.apply(U, live, t)
    return value


@full_precision
def uniformity(X: Tensor, *, t: float = 2.0) -> Tensor:
    r"""Uniformity: log of the mean over all pairs i != j of exp(-t |x^_i - x^_j|^2).

    Parameters
    ----------
    X : tensor of shape (n, d)
        Scaled to length one here; zero rows are left out.
    t : float, default=2.0
        Above 0, at most 20.

    Returns
    -------
    tensor, scalar
        The number of `isotropy.metrics.uniformity`: from about ``-4 t`` to 0, where all rows point
        one way. Uniform directions give `isotropy.metrics.uniformity_floor`, about -4 + 8 / d for
        t = 2. 0 for fewer than two rows.

    Raises
    ------
    TypeError
        Where `X` is no floating-point torch tensor.
    ValueError
        Where `t` is out of its range, or `X` has fewer than two dimensions.

    Notes
    -----
    O(n^2 d) in blocks: memory O(n d + block^2) forward and backward, no n x n matrix but for second
    derivatives and under ``torch.compile``.

    References
    ----------
    Wang & Isola 2020, "Understanding contrastive representation learning through alignment and
    uniformity on the hypersphere", equation 2.

    Examples
    --------
    >>> import torch
    >>> from isotropy.losses import uniformity
    >>> round(uniformity(torch.eye(4)).item(), 4)  # all pairs at a squared distance of 2
    -4.0
    """
    if not 0 < t <= 20:
        raise ValueError(f"t must be above 0 and at most 20, got {t!r}.")
    U = unit_rows(X)
    live = living(U)
    return torch.where(live.sum() > 1, _log_mean_kernel(U, live, float(t)), nothing(X))


class Uniformity(RowRegularizer):
    """`uniformity` of the rows as a module.

    Parameters
    ----------
    t : float, default=2.0
        Above 0, at most 20.
    queue : int, default=0
        Rows of past batches that take part, see `RowRegularizer`.
    gather : bool, default=False
        Take the rows of all ranks, see `Regularizer`.

    Raises
    ------
    ValueError
        Where `queue` is no number of rows; where `t` is out of its range, when called.

    Notes
    -----
    Cost and source as of `uniformity`.

    Examples
    --------
    >>> import torch
    >>> from isotropy.losses import Uniformity
    >>> round(Uniformity()(torch.eye(4)).item(), 4)
    -4.0
    """

    citation = bibtex(
        "wang2020understanding",
        "Tongzhou Wang and Phillip Isola",
        "Understanding Contrastive Representation Learning through Alignment and Uniformity on "
        "the Hypersphere",
        2020,
        "2005.10242",
    )

    def __init__(self, t: float = 2.0, *, queue: int = 0, gather: bool = False) -> None:
        super().__init__(queue=queue, gather=gather)
        self.t = t

    def measure(self, X: Tensor) -> Tensor:
        return uniformity(X, t=self.t)


@full_precision
def alignment(X: Tensor, Y: Tensor, *, alpha: float = 2.0) -> Tensor:
    r"""Alignment: mean distance of positive pairs on the sphere, ``mean |x^_i - y^_i|^alpha``.

    Parameters
    ----------
    X, Y : tensors of shape (n, d)
        Row i of one belongs to row i of the other. Pairs with a zero row are left out.
    alpha : float, default=2.0
        Above 0.

    Returns
    -------
    tensor, scalar
        From 0, the ideal, to ``2^alpha``: the number of `isotropy.metrics.alignment`. It falls
        when all rows collapse too: read it, and train it, beside `uniformity`. 0 without a pair.

    Raises
    ------
    TypeError
        Where `X` is no floating-point torch tensor.
    ValueError
        Where `alpha` is not above 0, or the views have different shapes.

    Notes
    -----
    O(n d). For alpha below 2 the gradient of a pair at distance 0 is taken as 0.

    References
    ----------
    Wang & Isola 2020, equation 1.

    Examples
    --------
    >>> import torch
    >>> from isotropy.losses import alignment
    >>> alignment(torch.eye(3), torch.eye(3)).item(), alignment(torch.eye(3), -torch.eye(3)).item()
    (0.0, 4.0)
    """
    if X.shape != Y.shape:
        raise ValueError(f"Pairs need equal shapes, got {tuple(X.shape)} and {tuple(Y.shape)}.")
    if not alpha > 0:
        raise ValueError(f"alpha must be above 0, got {alpha!r}.")
    A, B = unit_rows(X), unit_rows(Y)
    live = living(A) & living(B)
    squares = (A - B).square().sum(1)
    # A power below 1 of a square has no gradient at 0.
    apart = live & (squares > 0)
    powers = torch.where(apart, torch.where(apart, squares, 1).pow(alpha / 2), squares * 0)
    return powers.sum() / live.sum().clamp(min=1)


class Alignment(Regularizer):
    """`alignment` of two views as a module: ``regularizer(anchors, positives)``.

    Parameters
    ----------
    alpha : float, default=2.0
        Power of the distance, above 0.
    gather : bool, default=False
        Take the rows of all ranks, see `Regularizer`.

    Raises
    ------
    ValueError
        Where `alpha` is not above 0, when called.

    Notes
    -----
    Cost and source as of `alignment`.

    Examples
    --------
    >>> import torch
    >>> from isotropy.losses import Alignment
    >>> Alignment()(torch.eye(3), -torch.eye(3)).item()
    4.0
    """

    citation = Uniformity.citation
    n_views = 2

    def __init__(self, alpha: float = 2.0, *, gather: bool = False) -> None:
        super().__init__(gather=gather)
        self.alpha = alpha

    def measure(self, X: Tensor, Y: Tensor) -> Tensor:  # type: ignore[override]
        """The alignment, of rows of float32 or float64.

        Parameters
        ----------
        X, Y : tensor of shape (n, d)
            Two views of the same rows.

        Returns
        -------
        tensor, scalar
            What is to be minimised.

        Raises
        ------
        ValueError
            Where the views have different shapes.

        Examples
        --------
        >>> import torch
        >>> from isotropy.losses import Alignment
        >>> Alignment().measure(torch.eye(3), -torch.eye(3)).item()
        4.0
        """
        return alignment(X, Y, alpha=self.alpha)


@full_precision
def koleo(X: Tensor, *, eps: float = 1e-6) -> Tensor:
    r"""KoLeo: minus the mean log distance of each row to its nearest other row, on the sphere.

    ``-(1 / n) sum_i log min_j |x^_i - x^_j|``, the Kozachenko-Leonenko estimate of the entropy but
    for constants.

    Parameters
    ----------
    X : tensor of shape (n, d)
        Zero rows are left out.
    eps : float, default=1e-6
        A distance below counts as this, so that duplicates stay finite; they get no gradient,
        which would have no direction.

    Returns
    -------
    tensor, scalar
        From -log 2 up; lower is more spread. Uniform directions in hundreds of dimensions get
        about -0.3. 0 for fewer than two rows.

    Raises
    ------
    TypeError
        Where `X` is no floating-point torch tensor.
    ValueError
        Where `eps` is not above 0, or `X` has fewer than two dimensions.

    Notes
    -----
    O(n^2 d) in blocks to find the neighbours, O(n d) for the distances, taken from the differences
    of the rows: those from products lose half the digits of close rows.

    References
    ----------
    Sablayrolles et al. 2019, "Spreading vectors for similarity search", equation 2.

    Examples
    --------
    >>> import torch
    >>> from isotropy.losses import koleo
    >>> round(koleo(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])).item(), 4)  # -log 2
    -0.6931
    """
    if not eps > 0:
        raise ValueError(f"eps must be above 0, got {eps!r}.")
    if len(X) < 2:
        return nothing(X)
    U = unit_rows(X)
    live = living(U)
    squares = (U - U[_nearest(U.detach(), live)]).square().sum(1)
    apart = squares > eps**2
    logs = torch.where(apart, torch.where(apart, squares, 1).log() / 2, math.log(eps))
    value = -torch.where(live, logs, 0).sum() / live.sum().clamp(min=1)
    return torch.where(live.sum() > 1, value, nothing(X))


def _nearest(U: Tensor, live: Tensor) -> Tensor:
    """Index of the living row of largest cosine with each row, itself left out."""
    found = []
    no_row = torch.where(live, 0.0, -torch.inf).to(U)
    for start in range(0, len(U), _BLOCK):
        cosines = torch.addmm(no_row, U[start : start + _BLOCK], U.T)
        cosines.diagonal(start).fill_(-torch.inf)
        found.append(cosines.argmax(1))
    return torch.cat(found)


class KoLeo(RowRegularizer):
    """`koleo` of the rows as a module.

    Parameters
    ----------
    eps : float, default=1e-6
        A distance below counts as this.
    queue : int, default=0
        Rows of past batches that take part, see `RowRegularizer`. Then a call in training needs
        ``ids``: without them a text that comes again would be its own nearest neighbour.
    gather : bool, default=False
        Take the rows of all ranks, see `Regularizer`.

    Raises
    ------
    ValueError
        Where `queue` is no number of rows; without ``ids``, when called with a queue.

    Notes
    -----
    Cost and source as of `koleo`.

    Examples
    --------
    >>> import torch
    >>> from isotropy.losses import KoLeo
    >>> round(KoLeo()(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])).item(), 4)
    -0.6931
    """

    citation = bibtex(
        "sablayrolles2019spreading",
        "Alexandre Sablayrolles and Matthijs Douze and Cordelia Schmid and Herve Jegou",
        "Spreading vectors for similarity search",
        2019,
        "1806.03198",
    )

    needs_ids = True

    def __init__(self, eps: float = 1e-6, *, queue: int = 0, gather: bool = False) -> None:
        super().__init__(queue=queue, gather=gather)
        self.eps = eps

    def measure(self, X: Tensor) -> Tensor:
        return koleo(X, eps=self.eps)
