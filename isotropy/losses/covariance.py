"""Losses of the covariance of rows: all from traces, none needs an SVD but spectrum control."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from isotropy.losses._base import (
    MomentRegularizer,
    Regularizer,
    Spread,
    as_rows,
    bibtex,
    centred,
    full_precision,
    nothing,
    spacing,
)

__all__ = [
    "BarlowTwins",
    "Decorrelation",
    "IsoScoreStar",
    "LogFrobenius",
    "SpectrumControl",
    "VarianceCovariance",
    "barlow_twins",
    "decorrelation",
    "isoscore_star",
    "log_frobenius",
    "spectrum_control",
    "variance_covariance",
]


def _traces(X: Tensor) -> tuple[Tensor, Tensor]:
    """Variances (d,) and squared Frobenius norm of the covariance, ddof=0.

    The norm is that of the d x d covariance or of the n x n products, whichever is smaller.
    """
    C, n = centred(X), max(1, len(X))
    products = C.T @ C if n > C.shape[1] else C @ C.T
    return C.square().sum(0) / n, products.div(n).square().sum()


def _of_size_one(X: Tensor) -> Tensor:
    """Rows over their largest entry, so that no square leaves the range of the type."""
    largest = X.detach().abs().amax() if X.numel() else X.new_ones(())
    return X / torch.where(largest > 0, largest, 1)


def _noise(X: Tensor) -> Tensor:
    """The total variance that rounding alone leaves in rows that are all the same."""
    return X.detach().square().sum(1).sum() / max(1, len(X)) * (4 * spacing(X)) ** 2


class _CovarianceRegularizer(MomentRegularizer):
    """Losses of the variances and of the squared norm of the covariance."""

    def measure(self, X: Tensor) -> Tensor:
        if self.momentum is None or not self.training:
            return self._of(*_traces(X), len(X), _noise(X))
        spread = self._running(Spread.of(X))
        square = spread.covariance.square().sum()
        return self._of(spread.variances[0], square, spread.n, _noise(X))

    def _of(self, variances: Tensor, square: Tensor, n: Any, noise: Tensor) -> Tensor:
        raise NotImplementedError


# -- decorrelation -------------------------------------------------------------------------------


@full_precision
def decorrelation(X: Tensor) -> Tensor:
    r"""DeCov: half the sum of the squared covariances between different dimensions.

    ``(|C|_F^2 - |diag C|^2) / 2`` with C the covariance (ddof=0).

    Parameters
    ----------
    X : tensor of shape (n, d)

    Returns
    -------
    tensor, scalar
        From 0, the ideal. Grows with the fourth power of the scale of the rows.

    Raises
    ------
    TypeError
        Where `X` is no floating-point torch tensor.
    ValueError
        Where `X` has fewer than two dimensions.

    Notes
    -----
    O(n d min(n, d)). Depends on the axes.

    References
    ----------
    Cogswell et al. 2016, "Reducing overfitting in deep networks by decorrelating representations",
    equation 2.

    Examples
    --------
    >>> import torch
    >>> from isotropy.losses import decorrelation
    >>> decorrelation(torch.tensor([[1.0, 1.0], [-1.0, -1.0]])).item()
    1.0
    """
    return _decorrelation(*_traces(X))


def _decorrelation(variances: Tensor, square: Tensor) -> Tensor:
    return torch.relu(square - variances.square().sum()) / 2


class Decorrelation(_CovarianceRegularizer):
    """`decorrelation` of the rows (DeCov) as a module.

    Parameters
    ----------
    momentum : float in [0, 1), optional
        Carry the covariance over batches, see `MomentRegularizer`.
    gather : bool, default=False
        Take the rows of all ranks, see `Regularizer`.

    Raises
    ------
    ValueError
        Where `momentum` is out of its range.

    Notes
    -----
    Cost and source as of `decorrelation`.

    Examples
    --------
    >>> import torch
    >>> from isotropy.losses import Decorrelation
    >>> Decorrelation()(torch.tensor([[1.0, 1.0], [-1.0, -1.0]])).item()
    1.0
    """

    citation = bibtex(
        "cogswell2016reducing",
        "Michael Cogswell and Faruk Ahmed and Ross Girshick and Larry Zitnick and Dhruv Batra",
        "Reducing Overfitting in Deep Networks by Decorrelating Representations",
        2016,
        "1511.06068",
    )

    def _of(self, variances: Tensor, square: Tensor, n: Any, noise: Tensor) -> Tensor:
        return _decorrelation(variances, square)


# -- VICReg --------------------------------------------------------------------------------------


@full_precision
def variance_covariance(
    X: Tensor,
    *,
    std: float = 1.0,
    variance_weight: float = 25.0,
    covariance_weight: float = 1.0,
    eps: float = 1e-4,
) -> Tensor:
    r"""The variance and covariance terms of VICReg.

    ``variance_weight mean_k max(0, std - sqrt(C_kk + eps)) + covariance_weight sum_{k != l}
    C_kl^2 / d`` with C the covariance (ddof=1).

    Parameters
    ----------
    X : tensor of shape (n, d)
        Of any scale; for rows of length one give ``std=d ** -0.5``.
    std : float, default=1.0
        The standard deviation that each dimension is to reach.
    variance_weight, covariance_weight : float, default=25.0 and 1.0
        Those of the paper.
    eps : float, default=1e-4
        Keeps the gradient of the root finite.

    Returns
    -------
    tensor, scalar
        From 0, the ideal. For one row the variance term alone.

    Raises
    ------
    TypeError
        Where `X` is no floating-point torch tensor.
    ValueError
        Where `X` has fewer than two dimensions.

    Notes
    -----
    O(n d min(n, d)). Depends on the axes. VICReg's third term, invariance, is the mean squared
    distance of two views.

    References
    ----------
    Bardes et al. 2022, "VICReg", equations 1 to 4.

    Examples
    --------
    >>> import torch
    >>> from isotropy.losses import variance_covariance
    >>> variance_covariance(torch.zeros(4, 2)).item()  # 25 (1 - sqrt(1e-4))
    24.75
    """
    weights = std, variance_weight, covariance_weight, eps
    return _variance_covariance(*_traces(X), len(X), *weights)


def _variance_covariance(
    variances: Tensor,
    square: Tensor,
    n: Any,
    std: float,
    variance_weight: float,
    covariance_weight: float,
    eps: float,
) -> Tensor:
    unbiased = n / (n - 1) if n > 1 else 1.0
    short = torch.relu(std - (unbiased * variances + eps).sqrt()).mean()
    off_diagonal = torch.relu(square - variances.square().sum()) * unbiased**2
    return variance_weight * short + covariance_weight * off_diagonal / len(variances)


class VarianceCovariance(_CovarianceRegularizer):
    """`variance_covariance` of the rows (VICReg) as a module.

    Parameters
    ----------
    std : float, default=1.0
        The standard deviation that each dimension is to reach.
    variance_weight, covariance_weight : float, default=25.0 and 1.0
        Of the two terms, see `variance_covariance`.
    eps : float, default=1e-4
        Keeps the gradient of the root finite.
    momentum : float in [0, 1), optional
        Carry the covariance over batches, see `MomentRegularizer`.
    gather : bool, default=False
        Take the rows of all ranks, see `Regularizer`.

    Raises
    ------
    ValueError
        Where `momentum` is out of its range.

    Notes
    -----
    Cost and source as of `variance_covariance`.

    Examples
    --------
    >>> import torch
    >>> from isotropy.losses import VarianceCovariance
    >>> VarianceCovariance()(torch.zeros(4, 2)).item()
    24.75
    """

    citation = bibtex(
        "bardes2022vicreg",
        "Adrien Bardes and Jean Ponce and Yann LeCun",
        "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning",
        2022,
        "2105.04906",
    )

    def __init__(
        self,
        std: float = 1.0,
        variance_weight: float = 25.0,
        covariance_weight: float = 1.0,
        eps: float = 1e-4,
        *,
        momentum: float | None = None,
        gather: bool = False,
    ) -> None:
        super().__init__(momentum=momentum, gather=gather)
        self.std, self.eps = std, eps
        self.variance_weight, self.covariance_weight = variance_weight, covariance_weight

    def _of(self, variances: Tensor, square: Tensor, n: Any, noise: Tensor) -> Tensor:
        weights = self.std, self.variance_weight, self.covariance_weight, self.eps
        return _variance_covariance(variances, square, n, *weights)


# -- Barlow Twins --------------------------------------------------------------------------------


@full_precision
def barlow_twins(X: Tensor, Y: Tensor, *, off_diagonal_weight: float = 5e-3) -> Tensor:
    r"""Barlow Twins: the cross-correlation of two views against the identity.

    ``sum_k (1 - R_kk)^2 + off_diagonal_weight sum_{k != l} R_kl^2``.

    Parameters
    ----------
    X, Y : tensors of shape (n, d)
        Row i of one and row i of the other are two views of one thing.
    off_diagonal_weight : float, default=5e-3
        That of the paper.

    Returns
    -------
    tensor, scalar
        From 0, the ideal. A dimension without spread correlates with nothing, and counts 1.

    Raises
    ------
    TypeError
        Where `X` is no floating-point torch tensor.
    ValueError
        Where the views have different shapes, or fewer than two dimensions.

    Notes
    -----
    O(n d min(n, d)). Invariant to shift and scale of each dimension; depends on the axes.

    References
    ----------
    Zbontar et al. 2021, "Barlow Twins", equations 1 and 2.

    Examples
    --------
    >>> import torch
    >>> from isotropy.losses import barlow_twins
    >>> X = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> barlow_twins(X, X).item(), barlow_twins(X, -X).item()
    (0.0, 8.0)
    """
    if X.shape != Y.shape:
        raise ValueError(f"Views need equal shapes, got {tuple(X.shape)} and {tuple(Y.shape)}.")
    A, B, n = _standardized(X), _standardized(Y), max(1, len(X))
    own = (A * B).sum(0) / n
    if n > A.shape[1]:
        square = (A.T @ B).div(n).square().sum()
    else:  # |A'B|^2 = tr(AA' BB')
        square = ((A @ A.T) * (B @ B.T)).sum() / n**2
    return _barlow_twins(own, square, off_diagonal_weight)


def _standardized(X: Tensor) -> Tensor:
    C = centred(X)
    variances = C.square().mean(0)
    live = variances > (4 * spacing(X)) ** 2 * X.detach().square().mean(0)
    return C * torch.where(live, torch.where(live, variances, 1).rsqrt(), 0)


def _barlow_twins(own: Tensor, square: Tensor, off_diagonal_weight: float) -> Tensor:
    rest = torch.relu(square - own.square().sum())
    return (1 - own).square().sum() + off_diagonal_weight * rest


class BarlowTwins(MomentRegularizer):
    """`barlow_twins` of two views as a module: ``regularizer(one_view, other_view)``.

    Parameters
    ----------
    off_diagonal_weight : float, default=5e-3
        Of the correlations between different dimensions.
    momentum : float in [0, 1), optional
        Carry the covariance between the views over batches, see `MomentRegularizer`.
    gather : bool, default=False
        Take the rows of all ranks, see `Regularizer`.

    Raises
    ------
    ValueError
        Where `momentum` is out of its range.

    Notes
    -----
    Cost and source as of `barlow_twins`.

    Examples
    --------
    >>> import torch
    >>> from isotropy.losses import BarlowTwins
    >>> X = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> BarlowTwins()(X, X).item()
    0.0
    """

    citation = bibtex(
        "zbontar2021barlow",
        "Jure Zbontar and Li Jing and Ishan Misra and Yann LeCun and Stephane Deny",
        "Barlow Twins: Self-Supervised Learning via Redundancy Reduction",
        2021,
        "2103.03230",
    )

    n_views = 2

    def __init__(
        self,
        off_diagonal_weight: float = 5e-3,
        *,
        momentum: float | None = None,
        gather: bool = False,
    ) -> None:
        super().__init__(momentum=momentum, gather=gather)
        self.off_diagonal_weight = off_diagonal_weight

    def measure(self, X: Tensor, Y: Tensor) -> Tensor:  # type: ignore[override]
        """The Barlow Twins loss, of rows of float32 or float64.

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
        >>> from isotropy.losses import BarlowTwins
        >>> round(BarlowTwins(0.0).measure(torch.eye(2), torch.eye(2)).item(), 4)
        0.0
        """
        if self.momentum is None or not self.training:
            return barlow_twins(X, Y, off_diagonal_weight=self.off_diagonal_weight)
        spread = self._running(Spread.of(X, Y))
        scales = [
            torch.where(v > noise, torch.where(v > noise, v, 1).rsqrt(), 0)
            for v, noise in zip(
                spread.variances,
                [(4 * spacing(V)) ** 2 * V.detach().square().mean(0) for V in (X, Y)],
                strict=True,
            )
        ]
        R = scales[0][:, None] * spread.covariance * scales[1]
        return _barlow_twins(R.diagonal(), R.square().sum(), self.off_diagonal_weight)


# -- participation ratio -------------------------------------------------------------------------


def _inverse_ratio(trace: Tensor, square: Tensor, noise: Tensor) -> Tensor:
    """One over the participation ratio; 1, with no gradient, where there is no spread."""
    live = trace > noise
    return torch.where(live, square / torch.where(live, trace, 1).square(), 1.0)


@full_precision
def isoscore_star(X: Tensor, *, zeta: float = 0.2, prior: Tensor | None = None) -> Tensor:
    r"""IsoScore*: IsoScore of a covariance shrunk towards a prior, ``(1 - zeta) C + zeta C0``.

    ``((tr C)^2 / |C|_F^2 - 1) / (d - 1)`` of that mixture, from traces.

    Parameters
    ----------
    X : tensor of shape (n, d)
    zeta : float in [0, 1], default=0.2
        Weight of the prior. At 0 it is the paper's IsoScore.
    prior : tensor of shape (d, d), optional
        C0, for example the covariance of many rows at the start of an epoch, as I-STAR takes it.
        By default ``(tr C / d) I``, of the scale of the rows.

    Returns
    -------
    tensor, scalar
        From 0, one direction, to 1, isotropic: the number of `isotropy.metrics.isoscore_star`.
        The loss is 1 less this, see `IsoScoreStar`. Without spread the covariance counts as one
        direction.

    Raises
    ------
    TypeError
        Where `X` is no floating-point torch tensor.
    ValueError
        Where `zeta` is not from 0 to 1, or `prior` or `X` has another shape.

    Notes
    -----
    O(n d min(n, d)), O(n d^2) with a prior; no eigenvalues, so repeated ones do no harm to the
    gradient.

    References
    ----------
    Rudman & Eickhoff 2024, "Stable anisotropic regularization", section 3.

    Examples
    --------
    >>> import torch
    >>> from isotropy.losses import isoscore_star
    >>> X = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> isoscore_star(X).item()
    1.0
    """
    _check_zeta(zeta)
    X = X if prior is not None else _of_size_one(X)
    return _isoscore_star(*_mixture(X, zeta, prior), X.shape[1], _noise(X))


def _check_zeta(zeta: float) -> None:
    if not 0 <= zeta <= 1:
        raise ValueError(f"zeta must be from 0 to 1, got {zeta!r}.")


def _mixture(X: Tensor, zeta: float, prior: Tensor | None) -> tuple[Tensor, Tensor]:
    """Trace and squared norm of (1 - zeta) C + zeta C0."""
    if prior is not None:
        return _mixture_with(Spread.of(X).covariance, len(X), zeta, prior)
    variances, square = _traces(X)
    return _mixture_of(variances.sum(), square, X.shape[1], zeta)


def _mixture_of(trace: Tensor, square: Tensor, d: int, zeta: float) -> tuple[Tensor, Tensor]:
    return trace, (1 - zeta) ** 2 * square + zeta * (2 - zeta) * trace.square() / d


def _mixture_with(covariance: Tensor, n: Any, zeta: float, prior: Tensor) -> tuple[Tensor, Tensor]:
    if prior.shape != covariance.shape:
        wanted, got = tuple(covariance.shape), tuple(prior.shape)
        raise ValueError(f"prior must be a covariance of shape {wanted}, got {got}.")
    unbiased = n / (n - 1) if n > 1 else 1.0
    mixed = (1 - zeta) * unbiased * covariance + zeta * prior.to(covariance)
    return mixed.diagonal().sum(), mixed.square().sum()


def _isoscore_star(trace: Tensor, square: Tensor, d: int, noise: Tensor) -> Tensor:
    if d == 1:
        return nothing(trace)
    return (1 / _inverse_ratio(trace, square, noise) - 1) / (d - 1)


class IsoScoreStar(MomentRegularizer):
    """I-STAR's regularizer as a module: ``1 - isoscore_star(rows)``, from 0 to 1.

    A negative weight makes rows less isotropic, which the paper found to help fine-tuning.

    Parameters
    ----------
    zeta : float in [0, 1], default=0.2
        Weight of the prior.
    prior : tensor of shape (d, d), optional
        A covariance, see `isoscore_star`. Replace it by assignment, ``regularizer.prior = ...``,
        once an epoch for example.
    momentum : float in [0, 1), optional
        Carry the covariance over batches, see `MomentRegularizer`.
    gather : bool, default=False
        Take the rows of all ranks, see `Regularizer`.

    Raises
    ------
    TypeError
        Where `prior` is no floating-point tensor.
    ValueError
        Where `zeta` or `momentum` is out of its range.

    Notes
    -----
    Cost and source as of `isoscore_star`.

    Examples
    --------
    >>> import torch
    >>> from isotropy.losses import IsoScoreStar
    >>> IsoScoreStar()(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])).item()
    0.0
    """

    citation = bibtex(
        "rudman2024stable",
        "William Rudman and Carsten Eickhoff",
        "Stable Anisotropic Regularization",
        2024,
        "2305.19358",
    )

    prior: Tensor | None

    def __init__(
        self,
        zeta: float = 0.2,
        prior: Tensor | None = None,
        *,
        momentum: float | None = None,
        gather: bool = False,
    ) -> None:
        super().__init__(momentum=momentum, gather=gather)
        _check_zeta(zeta)
        self.zeta = zeta
        self.register_buffer("prior", None if prior is None else as_rows(prior), persistent=False)

    def measure(self, X: Tensor) -> Tensor:
        d = X.shape[1]
        if self.momentum is None or not self.training:
            return 1 - isoscore_star(X, zeta=self.zeta, prior=self.prior)
        spread = self._running(Spread.of(X))
        if self.prior is None:
            trace, square = spread.variances[0].sum(), spread.covariance.square().sum()
            mixture = _mixture_of(trace, square, d, self.zeta)
        else:
            mixture = _mixture_with(spread.covariance, spread.n, self.zeta, self.prior)
        return 1 - _isoscore_star(*mixture, d, _noise(X))


@full_precision
def log_frobenius(X: Tensor) -> Tensor:
    r"""Log of the squared Frobenius norm of the covariance over its trace (FroSSL).

    ``log(|C|_F^2 / (tr C)^2)``, minus the log of the participation ratio.

    Parameters
    ----------
    X : tensor of shape (n, d)

    Returns
    -------
    tensor, scalar
        From -log d, the ideal, to 0, one direction or no spread; minus the log of
        ``isotropy.metrics.participation_ratio(X, corrected=False)``.

    Raises
    ------
    TypeError
        Where `X` is no floating-point torch tensor.
    ValueError
        Where `X` has fewer than two dimensions.

    Notes
    -----
    O(n d min(n, d)). Invariant to shift, rotation and scale.

    References
    ----------
    Skean et al. 2024, "FroSSL: Frobenius norm minimization for efficient multiview self-supervised
    learning", equation 4; the paper leaves the scale to batch normalization.

    Examples
    --------
    >>> import torch
    >>> from isotropy.losses import log_frobenius
    >>> round(log_frobenius(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])).item(), 4)  # one direction
    0.0
    """
    X = _of_size_one(X)
    variances, square = _traces(X)
    return _inverse_ratio(variances.sum(), square, _noise(X)).log()


class LogFrobenius(_CovarianceRegularizer):
    """`log_frobenius` of the rows (FroSSL) as a module.

    Parameters
    ----------
    momentum : float in [0, 1), optional
        Carry the covariance over batches, see `MomentRegularizer`.
    gather : bool, default=False
        Take the rows of all ranks, see `Regularizer`.

    Raises
    ------
    ValueError
        Where `momentum` is out of its range.

    Notes
    -----
    Cost and source as of `log_frobenius`.

    Examples
    --------
    >>> import torch
    >>> from isotropy.losses import LogFrobenius
    >>> X = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> round(LogFrobenius()(X).item(), 4)  # -log 2
    -0.6931
    """

    citation = bibtex(
        "skean2024frossl",
        "Oscar Skean and Aayush Dhakal and Nathan Jacobs and Luis Gonzalo Sanchez Giraldo",
        "FroSSL: Frobenius Norm Minimization for Efficient Multiview Self-Supervised Learning",
        2024,
        "2310.02903",
    )

    def measure(self, X: Tensor) -> Tensor:
        return super().measure(X if self.momentum is not None else _of_size_one(X))

    def _of(self, variances: Tensor, square: Tensor, n: Any, noise: Tensor) -> Tensor:
        return _inverse_ratio(variances.sum(), square, noise).log()


# -- spectrum control ----------------------------------------------------------------------------


@full_precision
def spectrum_control(X: Tensor, *, decay: float = 0.5) -> Tensor:
    r"""Spectrum control: the distance of the singular values to a prior that decays slowly.

    ``sum_k (sigma_k / |sigma| - p_k)^2`` with ``p_k ~ k^-decay`` of length one.

    Parameters
    ----------
    X : tensor of shape (n, d)
        An embedding matrix; not centred, so the mean counts as a direction, as in the paper.
    decay : float, default=0.5
        Exponent of the prior, 0 or more. 0 asks for a flat spectrum.

    Returns
    -------
    tensor, scalar
        From 0, the ideal, to 2. Invariant to scale and rotation. 0 for zero rows.

    Raises
    ------
    TypeError
        Where `X` is no floating-point torch tensor.
    ValueError
        Where `decay` is below 0, or `X` has fewer than two dimensions.

    Notes
    -----
    The authors train the factors of W = U S V' with penalties that hold U and V orthogonal and S
    near the prior. Here the same prior acts on the singular values of the matrix as it is: no
    change to the model, and orthogonality is exact. Its gradient is finite at repeated and at zero
    singular values. O(n d min(n, d) + min(n, d)^3), in float64 for the eigenvalues.

    References
    ----------
    Wang et al. 2020, "Improving neural language generation with spectrum control", section 3.

    Examples
    --------
    >>> import torch
    >>> from isotropy.losses import spectrum_control
    >>> round(spectrum_control(torch.eye(3), decay=0.0).item(), 4)
    0.0
    """
    if not decay >= 0:
        raise ValueError(f"decay must be 0 or more, got {decay!r}.")
    X = _of_size_one(torch.where(torch.isfinite(X), X, 0))  # else the eigensolver would raise
    size = X.square().sum()
    X = X * torch.where(size > 0, size, 1).rsqrt()
    products = X.T @ X if len(X) > X.shape[1] else X @ X.T
    values = torch.linalg.eigvalsh(products.double()).flip(0)
    # Below its rounding an eigenvalue is 0, and the gradient of its root would be noise.
    live = values > values[:1].detach() * spacing(X) * len(values)
    sigma = torch.where(live, torch.where(live, values, 1).sqrt(), 0)
    prior = torch.arange(1, len(sigma) + 1, device=X.device, dtype=sigma.dtype) ** -decay
    prior = prior / torch.linalg.vector_norm(prior)
    return torch.where(size > 0, (sigma - prior).square().sum(), 0).to(X.dtype)


class SpectrumControl(Regularizer):
    """`spectrum_control` of an embedding matrix as a module.

    Parameters
    ----------
    decay : float, default=0.5
        Exponent of the prior, 0 or more.
    gather : bool, default=False
        Take the rows of all ranks, see `Regularizer`.

    Raises
    ------
    ValueError
        Where `decay` is below 0, when called.

    Notes
    -----
    Cost and source as of `spectrum_control`.

    Examples
    --------
    >>> import torch
    >>> from isotropy.losses import SpectrumControl
    >>> round(SpectrumControl(decay=0.0)(torch.eye(3)).item(), 4)
    0.0
    """

    citation = bibtex(
        "wang2020improving",
        "Lingxiao Wang and Jing Huang and Kevin Huang and Ziniu Hu and Guangtao Wang and "
        "Quanquan Gu",
        "Improving Neural Language Generation with Spectrum Control",
        2020,
    )

    def __init__(self, decay: float = 0.5, *, gather: bool = False) -> None:
        super().__init__(gather=gather)
        self.decay = decay

    def measure(self, X: Tensor) -> Tensor:
        return spectrum_control(X, decay=self.decay)
