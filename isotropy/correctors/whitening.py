"""Whitening, whole or in part, in five rotations."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from isotropy.affine import AffineMap, Normalize
from isotropy.correctors._shrinkage import ledoit_wolf_shrinkage, oas_shrinkage
from isotropy.correctors._tempering import tempered_power
from isotropy.correctors.base import AffineCorrector, warn_user
from isotropy.moments import Moments, fixed_eigh

__all__ = ["RankWarning", "Whitening"]

Method = Literal["pca", "zca", "cholesky", "pca-cor", "zca-cor"]


class RankWarning(UserWarning):
    """Fewer directions carry variance above rounding than there are columns, or were asked for.

    Examples
    --------
    >>> import warnings
    >>> from isotropy import RankWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", RankWarning)
    """


class Whitening(AffineCorrector):
    """Give the directions equal variance: ``y = (x - b mean) U (L + e)^(-g/2)`` and a rotation.

    C = U L U' is the covariance. With the defaults the result has mean 0 and covariance I. Full
    whitening helps raw inner layers and harms well-trained encoders: try `power` 0.5 to 0.75 and
    fewer `n_components`, and compare.

    Parameters
    ----------
    method : {"pca", "zca", "cholesky", "pca-cor", "zca-cor"}, default="pca"
        The rotation after scaling (Kessy et al. 2018). All five give the same cosines: choose
        "zca" to stay closest to the input axes, "pca" to truncate; "zca-cor" and "pca-cor" work on
        the correlation matrix, "cholesky" is triangular. They part only after truncation, a
        fractional power or quantisation. "zca" and "zca-cor" give d columns whatever
        `n_components`; the others give as many as are kept.
    n_components : int or float or None, default=None
        How many leading directions to keep: all of the numerical rank, a number, or the least
        number that holds this share (0 to 1, exclusive) of the variance.
    power : float or "tempered", default=1.0
        g: 1 whitens, 0 only rotates (and truncates), 0.5 goes half the way. "tempered" takes it
        from the spectrum (spectral tempering, arXiv 2603.19339). For the -cor methods the standard
        deviations of the columns are divided out fully, and the power acts on the correlations.
    mean_strength : float, default=1.0
        b: share of the mean that is removed; the covariance is then taken about ``b * mean``.
    shrinkage : {"ledoit-wolf", "oas"} or float or None, default=None
        Replace C by ``(1 - r) C + r (tr C / d) I``, with r in [0, 1] given or estimated. Directions
        without variance are then kept, at the shrunk value.
    epsilon : float, default=0.0
        e, relative to the mean eigenvalue tr C / d (soft-ZCA, arXiv 2411.17538).
    ddof : float, default=1
        Whitened rows have covariance I with this ``ddof``; see `Moments.covariance`.
    rank_tol : float or None, default=None
        Drop directions whose eigenvalue is not above `rank_tol` times the largest. None finds where
        rounding noise begins: `Moments.noise_floor`.
    weight_type : {"frequency", "probability"}, default="frequency"
        What `sample_weight` means. Zipfian whitening (arXiv 2411.00680) weights word vectors by
        their frequency: counts, or probabilities with "probability".
    normalize : {"none", "before", "after", "both"}, default="none"

    Attributes
    ----------
    eigenvalues_ : ndarray of shape (d,)
        Of the covariance, or of the correlations for the -cor methods, after shrinkage.
    rank_ : int
        Directions above the noise floor.
    n_components_ : int
        Directions kept.
    power_, shrinkage_ : float
        As used.

    Warns
    -----
    RankWarning
        If directions were dropped because they hold nothing but rounding.

    Notes
    -----
    Su et al. 2021 (arXiv 2103.15316); Kessy, Lewin & Strimmer 2018; the family of b and g is Su's,
    kexue.fm 9079. Fit is n d^2 + O(d^3), transform n d k.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import Whitening
    >>> X = np.random.default_rng(0).normal(size=(200, 3)) * [9, 1, 0.1] + 50
    >>> np.cov(Whitening().fit_transform(X).T).round(9).tolist() == np.eye(3).tolist()
    True
    """

    def __init__(
        self,
        method: Method = "pca",
        n_components: int | float | None = None,
        *,
        power: float | Literal["tempered"] = 1.0,
        mean_strength: float = 1.0,
        shrinkage: float | Literal["ledoit-wolf", "oas"] | None = None,
        epsilon: float = 0.0,
        ddof: float = 1,
        rank_tol: float | None = None,
        weight_type: Literal["frequency", "probability"] = "frequency",
        normalize: Normalize = "none",
    ) -> None:
        self.method = method
        self.n_components = n_components
        self.power = power
        self.mean_strength = mean_strength
        self.shrinkage = shrinkage
        self.epsilon = epsilon
        self.ddof = ddof
        self.rank_tol = rank_tol
        self.weight_type = weight_type
        self.normalize = normalize

    @property
    def _keeps_axes(self) -> bool:  # type: ignore[override]
        return self.method in ("zca", "zca-cor")

    @property
    def _removes_mean(self) -> bool:
        return self.mean_strength != 0

    def _moments_order(self) -> Literal[1, 2, 4]:
        return 4 if self.shrinkage == "ledoit-wolf" else 2

    def _solve(self, moments: Moments) -> AffineMap:
        self._check_parameters()
        shrinkage = self._shrinkage(moments)
        values, vectors, columns, noise = self._spectrum(moments, shrinkage)
        d, largest = values.size, float(values[0])
        floor = noise if self.rank_tol is None else self.rank_tol * largest
        lifted = values + self.epsilon * values.mean()
        rank = int(np.count_nonzero(lifted > floor))
        count = self._count(values[:rank], d)
        power = self._power(values[:rank], count)
        scales = lifted[:count] ** (-power / 2)
        affine = self._rotate(moments, vectors[:, :count], scales, columns)
        self.eigenvalues_, self.rank_, self.n_components_ = values, rank, count
        self.power_, self.shrinkage_ = power, shrinkage
        if rank < d:
            self._warn_rank(moments, rank, d)
        return affine

    def _spectrum(
        self, moments: Moments, shrinkage: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        """Eigenvalues and -vectors, the factor each column is scaled by first, and the noise."""
        correlation = self.method.endswith("-cor")
        if not correlation and self.mean_strength == 1:
            values, vectors = moments.spectrum(self.ddof)  # cached: shrinking keeps the vectors
            values = (1 - shrinkage) * values + shrinkage * values.mean()
            return values, vectors, np.ones_like(values), moments.noise_floor(float(values[0]))
        rest = (1 - self.mean_strength) * moments.mean
        covariance = moments.covariance(self.ddof) + np.outer(rest, rest)
        d = len(covariance)
        mean_variance = np.trace(covariance) / d
        covariance = (1 - shrinkage) * covariance + shrinkage * mean_variance * np.eye(d)
        if not correlation:
            values, vectors = fixed_eigh(covariance)
            return values, vectors, np.ones(d), moments.noise_floor(float(values[0]))
        variances = np.diag(covariance)
        noise = moments.noise_floor(0.0)
        live = variances > max(noise, d * np.finfo(np.float64).eps * variances.max())
        columns = np.where(live, 1 / np.sqrt(np.where(live, variances, 1)), 0.0)
        values, vectors = fixed_eigh(covariance * columns * columns[:, None])
        typical = float(np.median(variances[live])) if live.any() else 1.0
        return (
            values,
            vectors,
            columns,
            max(d * np.finfo(np.float64).eps * float(values[0]), noise / typical),
        )

    def _rotate(
        self, moments: Moments, vectors: np.ndarray, scales: np.ndarray, columns: np.ndarray
    ) -> AffineMap:
        """The map ``diag(columns) U diag(scales)``, rotated as the method says, and its inverse."""
        there, back = vectors * scales, vectors / scales
        if self.method.startswith("zca"):
            matrix, inverse = there @ vectors.T, vectors @ back.T
        elif self.method == "cholesky":
            # The triangular factor of U diag(s^2) U', found without squaring the scales.
            upper = np.asarray(np.linalg.qr(there.T, mode="r"))
            matrix = (upper * np.where(np.diag(upper) < 0, -1.0, 1.0)[:, None]).T
            inverse = (matrix.T @ vectors / scales) @ back.T
        else:
            matrix, inverse = there, back.T
        unscale = np.divide(1, columns, out=np.zeros_like(columns), where=columns > 0)
        return AffineMap(
            self.mean_strength * moments.mean, matrix * columns[:, None], inverse=inverse * unscale
        )

    def _check_parameters(self) -> None:
        if self.method not in get_args(Method):
            raise ValueError(f"method must be one of {get_args(Method)}, got {self.method!r}.")
        for name in ("mean_strength", "epsilon", "ddof", "rank_tol"):
            value = getattr(self, name)
            if name == "rank_tol" and value is None:
                continue
            if isinstance(value, str) or value is None or not np.isfinite(value):
                raise ValueError(f"{name} must be a finite number, got {value!r}.")
            if name != "mean_strength" and value < 0:
                raise ValueError(f"{name} must not be negative, got {value!r}.")
        power = self.power
        if power != "tempered" and (isinstance(power, str) or not 0 <= power < np.inf):
            raise ValueError(f"power must be 'tempered' or a number from 0 up, got {power!r}.")

    def _shrinkage(self, moments: Moments) -> float:
        wanted = self.shrinkage
        if wanted is None:
            return 0.0
        if wanted == "ledoit-wolf":
            return ledoit_wolf_shrinkage(moments)
        if wanted == "oas":
            return oas_shrinkage(moments)
        if isinstance(wanted, str) or not 0 <= wanted <= 1:
            raise ValueError(
                "shrinkage must be None, 'ledoit-wolf', 'oas' or a number from 0 to 1, got "
                f"{wanted!r}."
            )
        return float(wanted)

    def _count(self, values: np.ndarray, d: int) -> int:
        wanted = self.n_components
        if wanted is None:
            return values.size
        if isinstance(wanted, float) and 0 < wanted < 1:
            share = np.cumsum(values) / values.sum() if values.size else values
            return min(values.size, int(np.searchsorted(share, wanted)) + 1)
        if isinstance(wanted, str | bool) or wanted != int(wanted) or not 1 <= wanted <= d:
            raise ValueError(
                f"n_components must be None, an integer from 1 to {d} (the number of columns) or a "
                f"share of the variance between 0 and 1, got {wanted!r}."
            )
        return min(int(wanted), values.size)

    def _power(self, values: np.ndarray, count: int) -> float:
        return tempered_power(values, count) if self.power == "tempered" else float(self.power)

    def _warn_rank(self, moments: Moments, rank: int, d: int) -> None:
        reason = f", as {moments.n_rows} rows cannot span more" if moments.n_rows <= d else ""
        warn_user(
            f"The rows vary along {rank} of {d} directions{reason}; the rest is rounding noise and "
            "is dropped (rank_ tells the number; shrinkage or epsilon would keep it, damped).",
            RankWarning,
        )
