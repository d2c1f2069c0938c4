"""Partition isotropy I(W): how much the partition function depends on the direction."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import numpy as np
from scipy.special import erf

from isotropy.metrics._inputs import NeedsRows, WeightType, gather, row_blocks, uncentred_spectrum
from isotropy.metrics.registry import Metric
from isotropy.metrics.spectrum import marchenko_pastur_spectrum
from isotropy.moments import Moments

__all__ = ["partition_isotropy"]

Form = Literal["exact", "gaussian", "second", "first"]
FORMS = ("exact", "gaussian", "second", "first")


def partition_isotropy(
    X: Any,
    sample_weight: Any = None,
    *,
    form: Form = "exact",
    scale: Literal["rms", "none"] = "rms",
    weight_type: WeightType = "frequency",
) -> float:
    r"""Partition isotropy I(W) = min Z(c) / max Z(c), with Z(c) = sum_i exp(c . x_i).

    Over the unit eigenvectors c of X'X, each with both signs: an eigenvector has none, and leaving
    it to LAPACK's choice gives two answers for the same rows.

    Parameters
    ----------
    X : array of shape (n, d), `isotropy.io` rows, or Moments unless `form` is "exact"
        The rows.
    sample_weight : array of shape (n,), optional
        Frequencies: a row of weight w counts as w rows. By default each counts once.
    form : {"exact", "gaussian", "second", "first"}, default="exact"
        "exact" sums over the rows. From moments, with mu and C mean and covariance: "gaussian"
        takes ``log Z(c) / n = c . mu + c'Cc / 2``, exact for Gaussian rows and never negative;
        "first" and "second" are the papers' Taylor forms ``(1 - |mu|) / (1 + |mu|)`` and
        ``(1 - |mu| + l_min / 2) / (1 + |mu| + l_max / 2)``, l the eigenvalues of X'X / n.
    scale : {"rms", "none"}, default="rms"
        "rms" divides the rows by their root mean square length. exp makes I(W) depend on the
        scale, so a value before and one after a correction compare only on one scale; with
        length one the value also stays well inside (0, 1), and the Taylor forms are not below 0.
        "none" takes rows as they are, as the papers do; "first" and "second" may then be negative.
    weight_type : {"frequency", "probability"}, default="frequency"
        Both give the same value; saying "probability" lets weights sum to 1.

    Returns
    -------
    float
        From 0 to 1, isotropic. NaN where all rows are zero.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, `sample_weight` or an option does not fit, or
        Moments come where `form` is "exact".

    Notes
    -----
    Mostly sees the mean. Directions between the eigenvectors are not tried. Eigenvectors of equal
    eigenvalues are not unique: after whitening, which are found, and with them the value, depends
    on rounding, and so on the order of the rows and on the processor. Rows are summed in log space,
    so nothing overflows. O(n d^2 + d^3), and 2 n d exponentials.

    References
    ----------
    Arora et al. 2016, "A latent variable model approach to PMI-based word embeddings"; Mu &
    Viswanath 2018, "All-but-the-top", section 2.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import partition_isotropy
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> round(partition_isotropy(X), 2), round(partition_isotropy(X + 1), 2)
    (0.93, 0.25)
    """
    if form not in FORMS:
        raise ValueError(f"form must be one of {FORMS}, got {form!r}.")
    if scale not in ("rms", "none"):
        raise ValueError(f"scale must be 'rms' or 'none', got {scale!r}.")
    if form == "exact" and isinstance(X, Moments):
        raise NeedsRows("needs the rows: it sums exp(c . x) over them")
    as_is = scale == "none"
    moments = gather(X, sample_weight, weight_type=weight_type, as_is=as_is)
    values, vectors = uncentred_spectrum(moments)
    square = float(np.trace(moments.second_moment()))
    if not square > 0:
        return float("nan")
    factor = 1 / np.sqrt(square) if scale == "rms" else 1.0
    if form == "exact":
        return _ratio(_log_partition(X, sample_weight, vectors * factor))
    along, length = factor * (moments.mean @ vectors), factor * np.linalg.norm(moments.mean)
    return _from_moments(form, along, factor**2 * values, float(length))


def _ratio(log_partition: np.ndarray) -> float:
    return float(np.exp(log_partition.min() - log_partition.max()))


def _from_moments(form: Form, along: np.ndarray, values: np.ndarray, length: float) -> float:
    """I(W) from c . mu for each eigenvector c, the eigenvalues of X'X / n, and |mu|."""
    if form == "first":
        return (1 - length) / (1 + length)
    if form == "second":
        return float((1 - length + values.min() / 2) / (1 + length + values.max() / 2))
    spread = np.maximum(values - along**2, 0.0) / 2
    return _ratio(np.concatenate([spread + along, spread - along]))


def _log_partition(X: Any, sample_weight: Any, directions: np.ndarray) -> np.ndarray:
    """Return log Z(c) and log Z(-c) for each column c of `directions`."""
    total = np.full((2, directions.shape[1]), -np.inf)
    for block, weights in row_blocks(X, sample_weight):
        projected = block @ directions
        for sign, part in zip((1.0, -1.0), total, strict=True):
            exponents = sign * projected
            top = exponents.max(0)
            terms = np.exp(exponents - top)
            sums = terms.sum(0) if weights is None else weights @ terms
            with np.errstate(divide="ignore"):  # a block whose every weight is zero
                np.logaddexp(part, top + np.log(sums), out=part)
    return total


def partition_floor(n: float, d: int, form: Form = "exact") -> float:
    """About what n isotropic Gaussian rows get, at the scale "rms".

    Along the k-th eigenvector the mean is normal with variance l_k / (n d), and log Z / n is that,
    of either sign, plus l_k / 2d, with l the Marchenko-Pastur spectrum. The medians of the largest
    and of the smallest of these 2 d exponents make the ratio.
    """
    if n <= 1:
        return float("nan")
    values, length = marchenko_pastur_spectrum(n, d) / d, 1 / np.sqrt(n)
    if form in ("first", "second"):
        return _from_moments(form, np.zeros(d), values, length)
    spread, noise = values / 2, np.sqrt(values / n)
    live = noise > 0

    def largest(centre: np.ndarray) -> float:
        # The median of the largest of centre_k + |noise_k|: bisect the product of the chances.
        low, high = float(centre.max()), float(centre.max() + 40 * noise.max())
        for _ in range(60):
            middle = (low + high) / 2
            chances = erf((middle - centre[live]) / (np.sqrt(2) * noise[live]))
            if chances.min() > 0 and np.log(chances).sum() > np.log(0.5):
                high = middle
            else:
                low = middle
        return high

    return float(np.exp(-largest(spread) - largest(-spread)))


_PARTITION_SOURCE = "Arora et al. 2016; Mu & Viswanath 2018"

REGISTERED = (
    Metric(
        name="partition_isotropy",
        title="partition isotropy I(W)",
        function=partition_isotropy,
        range=(0.0, 1.0),
        ideal=1.0,
        better="higher",
        needs="rows",
        cost="O(n d^2) and 2 n d exponentials",
        source=_PARTITION_SOURCE,
        floor=partition_floor,
        jumps="it is the smallest of several values",
    ),
    Metric(
        name="partition_gaussian",
        title="I(W) of the Gaussian fitted",
        function=partial(partition_isotropy, form="gaussian"),
        range=(0.0, 1.0),
        ideal=1.0,
        better="higher",
        needs="moments",
        cost="O(d^3)",
        source=_PARTITION_SOURCE,
        floor=partition_floor,
        jumps="it is the smallest of several values",
    ),
    Metric(
        name="partition_first",
        title="I(W) to first order",
        function=partial(partition_isotropy, form="first"),
        range=(0.0, 1.0),
        ideal=1.0,
        better="higher",
        needs="moments",
        cost="O(d^3)",
        source=_PARTITION_SOURCE,
        floor=partial(partition_floor, form="first"),
    ),
    Metric(
        name="partition_second",
        title="I(W) to second order",
        function=partial(partition_isotropy, form="second"),
        range=(0.0, 1.0),
        ideal=1.0,
        better="higher",
        needs="moments",
        cost="O(d^3)",
        source=_PARTITION_SOURCE,
        floor=partial(partition_floor, form="second"),
    ),
)
