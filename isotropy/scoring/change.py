"""Have embeddings moved? Two sets, or the moments saved of two sets, held against chance."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from isotropy._render import html_table, number, text_table
from isotropy.metrics._inputs import gather
from isotropy.metrics.gaussian import bhattacharyya, kl_divergence, wasserstein2
from isotropy.moments import Moments
from isotropy.scoring.uncertainty import group_moments

__all__ = ["Drift", "drift"]

_STATISTICS = ("mean_shift", "wasserstein2", "spectrum_change")


@dataclass(frozen=True)
class Drift:
    """What `drift` found.

    Attributes
    ----------
    mean_shift : float
        Distance of the means over the root of the reference's total variance.
    mean_cosine : float
        Cosine of the two means; 1 where the cone points where it did.
    wasserstein2 : float
        2-Wasserstein (Frechet) distance of the two Gaussians, over the same root.
    bhattacharyya, kl_divergence : float
        Of the same; infinite where a covariance is not of full numerical rank.
    spectrum_change : float
        Largest absolute difference of the cumulated shares of variance, from 0 to 1, after the
        directions of the reference: the new rows' variance is taken along those.
    p_values : dict of str to float
        How often a split of all rows at random gives as large a mean_shift, wasserstein2 or
        spectrum_change. Empty where moments alone were given.
    null : dict of str to float
        The 95th percentile of the same under random splits: what sampling alone makes.
    n_reference, n_new : float
    """

    mean_shift: float
    mean_cosine: float
    wasserstein2: float
    bhattacharyya: float
    kl_divergence: float
    spectrum_change: float
    p_values: dict[str, float]
    null: dict[str, float]
    n_reference: float
    n_new: float

    @property
    def moved(self) -> bool:
        """Whether any of the three tests finds a change, at 5 % for all of them together."""
        return bool(self.p_values) and min(self.p_values.values()) * len(self.p_values) <= 0.05

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries and numbers."""
        return {**asdict(self), "moved": self.moved if self.p_values else None}

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        rows = []
        for name in (*_STATISTICS, "mean_cosine", "bhattacharyya", "kl_divergence"):
            p, chance = self.p_values.get(name), self.null.get(name)
            rows.append([name, number(getattr(self, name)), number(chance), number(p)])
        return ["distance", "value", "95 % of chance", "p-value"], rows

    def __str__(self) -> str:
        caption = f"{self.n_reference:,.0f} reference rows, {self.n_new:,.0f} new ones"
        if not self.p_values:
            said = "Without rows there is no chance to hold it against."
        elif self.moved:
            said = "The embeddings have moved, beyond what sampling makes."
        else:
            said = "No change beyond what sampling makes."
        return f"{caption}\n{text_table(*self._cells())}\n{said}"

    def _repr_html_(self) -> str:
        return html_table(*self._cells(), caption="Drift")


def drift(
    reference: Any,
    new: Any,
    *,
    n_resamples: int = 199,
    n_groups: int = 40,
    random_state: int = 0,
) -> Drift:
    """Hold new embeddings against a reference: a silent change of the model, or of the corpus.

    Parameters
    ----------
    reference, new : arrays of shape (n, d), `isotropy.io` rows, or Moments
        Where both are rows the distances are tested by permutation. Texts that stay the same
        (canaries) tell a changed model; new texts alone cannot tell it from a moved corpus.
    n_resamples : int, default=199
        Random splits. 0 for none.
    n_groups : int, default=40
        Groups that the rows of each are put into, every n-th row in one; they are what is
        exchanged, so that the rows are read once.
    random_state : int, default=0

    Returns
    -------
    Drift

    Raises
    ------
    ValueError
        Where the sets differ in dimensions, which is an answer too, or one has no rows.

    Notes
    -----
    One pass over each, then O((n_groups + d) d^2) a split. A p-value cannot be below
    1 / (n_resamples + 1).

    References
    ----------
    Dowson & Landau 1982 on the Frechet distance of Gaussians; Good 2005, "Permutation, parametric
    and bootstrap tests of hypotheses".

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.scoring import drift
    >>> rng = np.random.default_rng(0)
    >>> drift(rng.normal(size=(500, 8)), rng.normal(size=(500, 8)) + 0.3).moved
    True
    """
    if isinstance(n_resamples, bool) or n_resamples != int(n_resamples) or n_resamples < 0:
        raise ValueError(f"n_resamples must be an integer, 0 or more, got {n_resamples!r}.")
    with_rows = not isinstance(reference, Moments) and not isinstance(new, Moments)
    groups: list[list[Moments]] = []
    if with_rows and n_resamples:
        sizes = [int(X.shape[0]) if hasattr(X, "shape") else len(X) for X in (reference, new)]
        most = min(n_groups, *sizes)
        if most >= 2:
            for X, n in zip((reference, new), sizes, strict=True):
                # Groups of about one size, so that any of them may stand for any other.
                share = min(n, max(2, round(2 * most * n / sum(sizes))))
                groups.append(group_moments(X, share, unit="none"))
    first, second = (
        (_sum(groups[0]), _sum(groups[1]))
        if groups
        else (gather(reference, None), gather(new, None))
    )
    if first.n_features != second.n_features:
        raise ValueError(
            f"The reference has {first.n_features} dimensions, the new rows {second.n_features}: "
            "they come from different models, or one was truncated."
        )
    found = _distances(first, second)
    p_values: dict[str, float] = {}
    null: dict[str, float] = {}
    if groups:
        rng, every = np.random.default_rng(random_state), [*groups[0], *groups[1]]
        drawn = np.empty((int(n_resamples), len(_STATISTICS)))
        for k in range(int(n_resamples)):
            order = rng.permutation(len(every))
            parts = order[: len(groups[0])], order[len(groups[0]) :]
            drawn[k] = list(
                _distances(*(_sum([every[i] for i in part]) for part in parts)).values()
            )
        observed = np.array([found[name] for name in _STATISTICS])
        above = (drawn >= observed * (1 - 1e-12)).sum(0)
        for k, name in enumerate(_STATISTICS):
            p_values[name] = float((1 + above[k]) / (1 + len(drawn)))
            null[name] = float(np.quantile(drawn[:, k], 0.95))
    lengths = float(np.linalg.norm(first.mean) * np.linalg.norm(second.mean))
    return Drift(
        **found,
        mean_cosine=float(first.mean @ second.mean / lengths) if lengths else float("nan"),
        bhattacharyya=bhattacharyya(first, second),
        kl_divergence=kl_divergence(second, first),
        p_values=p_values,
        null=null,
        n_reference=first.n_effective,
        n_new=second.n_effective,
    )


def _sum(groups: list[Moments]) -> Moments:
    total = groups[0]
    for group in groups[1:]:
        total = total + group
    return total


def _distances(first: Moments, second: Moments) -> dict[str, float]:
    """The three that are tested, in the order of their names."""
    values, vectors = first.spectrum(0)
    scale = float(np.sqrt(values.sum()))
    along = np.einsum("ij,ij->j", vectors, second.covariance(0) @ vectors)
    if not scale > 0:
        return dict.fromkeys(_STATISTICS, float("nan"))
    change = float("nan")
    if along.sum() > 0:
        shares = np.cumsum(values) / values.sum() - np.cumsum(along) / along.sum()
        change = float(np.abs(shares).max())
    return {
        "mean_shift": float(np.linalg.norm(first.mean - second.mean)) / scale,
        "wasserstein2": wasserstein2(first, second) / scale,
        "spectrum_change": change,
    }
