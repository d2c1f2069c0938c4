"""Displays: data in the constructor, drawing in ``plot(ax=None)``, artists kept for styling.

matplotlib is imported where something is drawn. Raw rows are grey, corrected ones blue, what
isotropic rows would show is a dashed line: the same in every picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from isotropy.metrics import (
    METRICS,
    FrequencyTable,
    Hubness,
    frequency_table,
    hubness,
    marchenko_pastur_spectrum,
)
from isotropy.metrics._inputs import eigenvalues, gather
from isotropy.rows.door import as_rows
from isotropy.scoring import Comparison, compare

__all__ = [
    "BeforeAfterDisplay",
    "CosineHistogramDisplay",
    "FrequencyDisplay",
    "HubnessDisplay",
    "LayerProfileDisplay",
    "ProjectionDisplay",
    "SpectrumDisplay",
]

RAW, CORRECTED, FLOOR = "#7f7f7f", "#1f6fb4", "#c44e00"
_COLOURS = (RAW, CORRECTED, "#2a9d5c", "#8a5fbf", "#b8860b", "#00868b")


def _axes(ax: Any) -> Any:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1]


def _finish(ax: Any, *, x: str, y: str, legend: bool = True) -> None:
    ax.set(xlabel=x, ylabel=y)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    if legend and ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False)


class _Display:
    """What the displays share: the axes, the figure and the artists that `plot` has made."""

    ax_: Any
    figure_: Any
    artists_: list[Any]

    def plot(self, ax: Any = None) -> Self:
        """Draw on `ax`, or on a new figure.

        Parameters
        ----------
        ax : matplotlib Axes, optional

        Returns
        -------
        self
            With `ax_`, `figure_` and `artists_` of this picture.
        """
        ax = _axes(ax)
        self.artists_ = list(self._draw(ax))
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw(self, ax: Any) -> Sequence[Any]:
        """Draw, and give back what was drawn."""
        raise NotImplementedError


def _both(estimator: Any, X: Any) -> dict[str, Any]:
    """Rows before and after a corrector, which is fitted where it is not yet."""
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except NotFittedError:
        estimator = estimator.fit(X)
    return {"raw": X, type(estimator).__name__: estimator.transform(X)}


class SpectrumDisplay(_Display):
    """Shares of variance by component, falling, on logarithmic axes.

    Parameters
    ----------
    shares : mapping of str to array
        By label, shares of variance that sum to 1.
    floor : array, optional
        The shares that as many isotropic rows would have.

    Attributes
    ----------
    ax_, figure_, artists_
        Of the last `plot`.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(200, 8)) + 1
    >>> from isotropy.plot import SpectrumDisplay
    >>> SpectrumDisplay.from_embeddings(X).ax_.get_ylabel()
    'share of variance'
    """

    def __init__(self, shares: Mapping[str, np.ndarray], floor: np.ndarray | None = None) -> None:
        self.shares, self.floor = dict(shares), floor

    @classmethod
    def from_embeddings(cls, X: Any, *, label: str = "raw", ax: Any = None) -> Self:
        """Compute and draw the spectrum of rows or Moments.

        Parameters
        ----------
        X : array of shape (n, d) or Moments
        label : str, default="raw"
            Name in the legend.
        ax : matplotlib Axes, optional
            By default of a new figure.

        Returns
        -------
        display
        """
        return cls._of({label: X}).plot(ax)

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, *, ax: Any = None) -> Self:
        """Compute and draw the spectrum before and after a corrector.

        Parameters
        ----------
        estimator : corrector
            Fitted, or fitted here to `X`.
        X : array of shape (n, d)
            Or anything that `isotropy.rows.as_rows` takes.
        ax : matplotlib Axes, optional
            By default of a new figure.

        Returns
        -------
        display
        """
        return cls._of(_both(estimator, X)).plot(ax)

    @classmethod
    def _of(cls, rows: Mapping[str, Any]) -> Self:
        shares, floor = {}, None
        for label, X in rows.items():
            moments = gather(X, None)
            values = eigenvalues(moments)
            shares[label] = values / (values.sum() or 1)
            if floor is None and moments.n_effective > 1:
                floor = marchenko_pastur_spectrum(moments.n_effective, moments.n_features)
                floor = floor / floor.sum()
        return cls(shares, floor)

    def _draw(self, ax: Any) -> Sequence[Any]:
        artists: list[Any] = []
        for colour, (label, shares) in zip(_cycled(), self.shares.items(), strict=False):
            live = shares[shares > 0]
            artists += ax.plot(np.arange(1, len(live) + 1), live, color=colour, label=label)
        if self.floor is not None:
            live = self.floor[self.floor > 0]
            line = ax.plot(np.arange(1, len(live) + 1), live, "--", color=FLOOR, label="isotropic")
            artists += line
        ax.set(xscale="log", yscale="log")
        _finish(ax, x="component", y="share of variance")
        return artists


def _cycled() -> Any:
    from itertools import cycle

    return cycle(_COLOURS)


class CosineHistogramDisplay(_Display):
    """Distribution of the cosine of two different rows.

    Parameters
    ----------
    cosines : mapping of str to array
        By label, cosines of pairs.
    d : int, optional
        Dimensions, of which uniform directions' density is drawn.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(200, 8)) + 1
    >>> from isotropy import MeanRemoval
    >>> from isotropy.plot import CosineHistogramDisplay
    >>> CosineHistogramDisplay.from_estimator(MeanRemoval(), X).ax_.get_xlabel()
    'cosine of two rows'
    """

    def __init__(self, cosines: Mapping[str, np.ndarray], d: int | None = None) -> None:
        self.cosines, self.d = dict(cosines), d

    @classmethod
    def from_embeddings(
        cls,
        X: Any,
        *,
        label: str = "raw",
        n_pairs: int = 100_000,
        random_state: int = 0,
        ax: Any = None,
    ) -> Self:
        """Draw pairs of different rows, take their cosines, and plot these.

        Parameters
        ----------
        X : array of shape (n, d)
            Or anything that `isotropy.rows.as_rows` takes.
        label : str, default="raw"
            Name in the legend.
        n_pairs : int, default=100000
        random_state : int, default=0
        ax : matplotlib Axes, optional
            By default of a new figure.

        Returns
        -------
        display

        Raises
        ------
        ValueError
            For fewer than two rows.
        """
        return cls._of({label: X}, n_pairs, random_state).plot(ax)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        n_pairs: int = 100_000,
        random_state: int = 0,
        ax: Any = None,
    ) -> Self:
        """The same before and after a corrector, on the same pairs.

        Parameters
        ----------
        estimator : corrector
            Fitted, or fitted here to `X`.
        X : array of shape (n, d)
            Or anything that `isotropy.rows.as_rows` takes.
        n_pairs : int, default=100000
        random_state : int, default=0
        ax : matplotlib Axes, optional
            By default of a new figure.

        Returns
        -------
        display

        Raises
        ------
        ValueError
            For fewer than two rows.
        """
        return cls._of(_both(estimator, X), n_pairs, random_state).plot(ax)

    @classmethod
    def _of(cls, rows: Mapping[str, Any], n_pairs: int, random_state: int) -> Self:
        found, d = {}, None
        for label, X in rows.items():
            X = as_rows(X).in_memory().astype(np.float64)
            if len(X) < 2:
                raise ValueError(f"Cosines of pairs need two rows or more, got {len(X)}.")
            d = X.shape[1] if d is None else d
            rng = np.random.default_rng(random_state)
            first = rng.integers(len(X), size=n_pairs)
            second = (first + rng.integers(1, len(X), size=n_pairs)) % len(X)
            lengths = np.linalg.norm(X, axis=1)
            X = X / np.where(lengths > 0, lengths, 1)[:, None]
            found[label] = np.einsum("ij,ij->i", X[first], X[second])
        return cls(found, d)

    def _draw(self, ax: Any) -> Sequence[Any]:
        artists: list[Any] = []
        bins = np.linspace(-1, 1, 121)
        for colour, (label, cosines) in zip(_cycled(), self.cosines.items(), strict=False):
            name = f"{label}, mean {round(cosines.mean(), 2) + 0.0:.2f}"
            _, _, patches = ax.hist(
                cosines, bins, density=True, color=colour, alpha=0.6, label=name
            )
            artists.append(patches)
        if self.d is not None and self.d > 3:
            t = np.linspace(-1, 1, 801)[1:-1]
            density = (1 - t**2) ** ((self.d - 3) / 2)
            density /= density.sum() * (t[1] - t[0])
            artists += ax.plot(t, density, "--", color=FLOOR, label="isotropic")
        ax.set_xlim(-1, 1)
        ax.set_yticks([])
        _finish(ax, x="cosine of two rows", y="density")
        return artists


class ProjectionDisplay(_Display):
    """Rows along their two leading singular directions, not centred: the cone, and the origin.

    Parameters
    ----------
    points : array of shape (n, 2)
    values : array of shape (n,), optional
        Colours the rows, the log of a frequency for example.
    value_name : str, optional

    References
    ----------
    Gao et al. 2019, figure 1.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(200, 8)) + 1
    >>> from isotropy.plot import ProjectionDisplay
    >>> ProjectionDisplay.from_embeddings(X).points.shape
    (200, 2)
    """

    def __init__(
        self, points: np.ndarray, values: np.ndarray | None = None, value_name: str = ""
    ) -> None:
        self.points, self.values, self.value_name = points, values, value_name

    @classmethod
    def from_embeddings(
        cls,
        X: Any,
        *,
        values: Any = None,
        value_name: str = "",
        most: int = 5000,
        random_state: int = 0,
        ax: Any = None,
    ) -> Self:
        """Project rows, `most` of them drawn at random, and draw them.

        Parameters
        ----------
        X : array of shape (n, d)
            Or anything that `isotropy.rows.as_rows` takes.
        values : array of shape (n,), optional
            Colours the rows.
        value_name : str, optional
            What they are, beside the colours.
        most : int, default=5000
            Rows to draw.
        random_state : int, default=0
        ax : matplotlib Axes, optional
            By default of a new figure.

        Returns
        -------
        display

        Raises
        ------
        ValueError
            If there is not one value a row.
        """
        from isotropy.metrics._inputs import uncentred_spectrum

        directions = uncentred_spectrum(gather(X, None))[1][:, :2]
        rows = as_rows(X).in_memory()
        kept = np.arange(len(rows))
        if len(rows) > most:
            kept = np.random.default_rng(random_state).choice(len(rows), most, replace=False)
        points = rows[np.sort(kept)].astype(np.float64) @ directions
        if values is not None:
            values = np.asarray(values)
            if values.shape != (len(rows),):
                raise ValueError(
                    f"values must have one entry a row, shape ({len(rows)},), got {values.shape}."
                )
            values = values[np.sort(kept)]
        if points.shape[1] < 2:
            points = np.column_stack([points, np.zeros(len(points))])
        return cls(points, values, value_name).plot(ax)

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, *, ax: Any = None, **options: Any) -> Self:
        """Project what a corrector makes of rows.

        Parameters
        ----------
        estimator : corrector
            Fitted, or fitted here to `X`.
        X : array of shape (n, d)
            Or anything that `isotropy.rows.as_rows` takes.
        ax : matplotlib Axes, optional
            By default of a new figure.
        **options
            As in `from_embeddings`.

        Returns
        -------
        display
        """
        return cls.from_embeddings(list(_both(estimator, X).values())[-1], ax=ax, **options)

    def _draw(self, ax: Any) -> Sequence[Any]:
        options: dict[str, Any] = (
            {"color": CORRECTED} if self.values is None else {"c": self.values}
        )
        rows = ax.scatter(*self.points.T, s=6, alpha=0.5, linewidths=0, **options)
        origin = ax.scatter([0], [0], marker="+", s=120, color=FLOOR, label="origin", zorder=3)
        if self.values is not None:
            ax.figure.colorbar(rows, ax=ax, label=self.value_name)
        ax.set_aspect("equal", adjustable="datalim")
        _finish(ax, x="first singular direction", y="second")
        return [rows, origin]


class LayerProfileDisplay(_Display):
    """A metric by layer, of tokens and of pooled items.

    Parameters
    ----------
    profile : isotropy.encoders.LayerProfile
    metric : str, default="mean_cosine"

    Examples
    --------
    >>> from isotropy.plot import LayerProfileDisplay
    >>> LayerProfileDisplay.from_model("minilm", texts)  # doctest: +SKIP
    """

    def __init__(self, profile: Any, metric: str = "mean_cosine") -> None:
        if metric not in profile.metrics:
            raise ValueError(f"metric must be one of {tuple(profile.metrics)}, got {metric!r}.")
        self.profile, self.metric = profile, metric

    @classmethod
    def from_model(
        cls,
        model: Any,
        batches: Any,
        *,
        metric: str = "mean_cosine",
        ax: Any = None,
        **options: Any,
    ) -> Self:
        """Profile a model layer by layer, and draw it.

        Parameters
        ----------
        model, batches
            As in `isotropy.encoders.layer_profile`.
        metric : str, default="mean_cosine"
        ax : matplotlib Axes, optional
            By default of a new figure.
        **options
            As in `isotropy.encoders.layer_profile`.

        Returns
        -------
        display
        """
        from isotropy.encoders import layer_profile

        return cls(layer_profile(model, batches, **options), metric).plot(ax)

    def _draw(self, ax: Any) -> Sequence[Any]:
        artists: list[Any] = []
        layers = np.arange(len(self.profile))
        for level, colour in (("token", RAW), ("pooled", CORRECTED)):
            cards = self.profile.scorecards(level)
            values = [card[self.metric] for card in cards]
            artists += ax.plot(layers, values, "o-", color=colour, label=level)
        floors = [card.scores[self.metric].floor for card in cards]
        if all(floor is not None for floor in floors):
            artists += ax.plot(layers, floors, "--", color=FLOOR, label="isotropic (pooled)")
        ax.set_xticks(layers)
        _finish(ax, x="layer", y=METRICS[self.metric].title)
        return artists


class HubnessDisplay(_Display):
    """How many rows occur how often among the neighbours of others.

    Parameters
    ----------
    hubness : isotropy.metrics.Hubness

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(200, 8)) + 1
    >>> from isotropy.plot import HubnessDisplay
    >>> HubnessDisplay.from_embeddings(X).ax_.get_ylabel()
    'rows'
    """

    def __init__(self, hubness: Hubness) -> None:
        self.hubness = hubness

    @classmethod
    def from_embeddings(cls, X: Any, *, ax: Any = None, **options: Any) -> Self:
        """Find neighbours, and draw how often rows occur among them.

        Parameters
        ----------
        X : array of shape (n, d)
            Or anything that `isotropy.rows.as_rows` takes.
        ax : matplotlib Axes, optional
            By default of a new figure.
        **options
            As in `isotropy.metrics.hubness`.

        Returns
        -------
        display
        """
        return cls(hubness(X, **options)).plot(ax)

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, *, ax: Any = None, **options: Any) -> Self:
        """The same of what a corrector makes of rows.

        Parameters
        ----------
        estimator : corrector
            Fitted, or fitted here to `X`.
        X : array of shape (n, d)
            Or anything that `isotropy.rows.as_rows` takes.
        ax : matplotlib Axes, optional
            By default of a new figure.
        **options
            As in `isotropy.metrics.hubness`.

        Returns
        -------
        display
        """
        return cls.from_embeddings(list(_both(estimator, X).values())[-1], ax=ax, **options)

    def _draw(self, ax: Any) -> Sequence[Any]:
        from scipy.stats import binom

        counts = self.hubness.counts
        occurring = np.bincount(counts)
        k = np.arange(len(occurring))
        bars = ax.bar(k, occurring, width=1, color=CORRECTED, alpha=0.7, label="rows")
        n, share = self.hubness.n_queries, self.hubness.n_neighbors / max(1, self.hubness.n)
        chance = len(counts) * binom.pmf(k, n, min(1.0, share))
        line = ax.plot(k[chance > 0.5], chance[chance > 0.5], "--", color=FLOOR, label="by chance")
        ax.set_yscale("log")
        ax.set_ylim(bottom=0.5)
        ax.set_title(f"skewness {self.hubness.k_skewness:.2f}", loc="left")
        _finish(ax, x=f"occurrences among {self.hubness.n_neighbors} neighbours", y="rows")
        return [bars, *line]


class FrequencyDisplay(_Display):
    """Norm, neighbour distance and pull of the mean by frequency bucket.

    Parameters
    ----------
    table : isotropy.metrics.FrequencyTable

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(200, 8)) + 1
    >>> from isotropy.plot import FrequencyDisplay
    >>> FrequencyDisplay.from_embeddings(X, np.arange(200)).ax_.get_xlabel()
    'rank of frequency'
    """

    def __init__(self, table: FrequencyTable) -> None:
        self.table = table

    @classmethod
    def from_embeddings(cls, X: Any, counts: Any, *, ax: Any = None, **options: Any) -> Self:
        """Compute the table of frequency buckets, and draw it.

        Parameters
        ----------
        X : array of shape (n, d)
            Or anything that `isotropy.rows.as_rows` takes.
        counts : array of shape (n,)
            How often each row occurs.
        ax : matplotlib Axes, optional
            By default of a new figure.
        **options
            As in `isotropy.metrics.frequency_table`.

        Returns
        -------
        display
        """
        return cls(frequency_table(X, counts, **options)).plot(ax)

    def _draw(self, ax: Any) -> Sequence[Any]:
        artists: list[Any] = []
        buckets = self.table.buckets
        where = np.arange(len(buckets))
        told = {
            "norm": [b.norm for b in buckets],
            f"distance to {self.table.n_neighbors} neighbours": [b.distance for b in buckets],
            "cosine to the mean": [b.mean_cosine for b in buckets],
        }
        for k, (colour, (label, values)) in enumerate(zip(_cycled(), told.items(), strict=False)):
            artists.append(ax.bar(where + 0.27 * (k - 1), values, 0.25, color=colour, label=label))
        ax.axhline(0, color="black", linewidth=0.8)
        ax.set_xticks(where, [f"{b.first:,}-{b.last:,}" for b in buckets])
        _finish(ax, x="rank of frequency", y="mean over the bucket", legend=False)
        ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
        return artists


class BeforeAfterDisplay(_Display):
    """Metrics before and after correctors, each on a scale of its own.

    Parameters
    ----------
    comparison : isotropy.Comparison
    metrics : sequence of str, optional
        By default four that are on the cards.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(200, 8)) + 1
    >>> from isotropy import MeanRemoval
    >>> from isotropy.plot import BeforeAfterDisplay
    >>> BeforeAfterDisplay.from_estimator(MeanRemoval(), X).metrics[0]
    'mean_cosine'
    """

    def __init__(self, comparison: Comparison, metrics: Sequence[str] | None = None) -> None:
        usual = ("mean_cosine", "isoscore", "effective_rank", "top_variance_share")
        on_cards = comparison.scorecards["raw"].scores
        self.comparison = comparison
        self.metrics = [m for m in usual if m in on_cards] if metrics is None else list(metrics)
        if unknown := [name for name in self.metrics if name not in on_cards]:
            raise ValueError(f"{unknown} are not on the scorecards, which have {list(on_cards)}.")

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, metrics: Sequence[str] | None = None, ax: Any = None
    ) -> Self:
        """Compare rows before and after a corrector, or several by name, and draw it.

        Parameters
        ----------
        estimator : corrector, or mapping of str to corrector
        X : array of shape (n, d)
            Or anything that `isotropy.rows.as_rows` takes.
        metrics : sequence of str, optional
            By default four of the usual ones.
        ax : matplotlib Axes, optional
            By default of a new figure.

        Returns
        -------
        display
        """
        correctors = (
            dict(estimator)
            if isinstance(estimator, Mapping)
            else {type(estimator).__name__: estimator}
        )
        return cls(compare(X, correctors, metrics=metrics), metrics).plot(ax)

    def _draw(self, ax: Any) -> Sequence[Any]:
        artists: list[Any] = []
        cards = self.comparison.scorecards
        for row, name in enumerate(self.metrics):
            scores = [card.scores[name] for card in cards.values()]
            values = np.array([s.value for s in scores], dtype=float)
            floor = scores[0].floor
            every = values[np.isfinite(values)]
            every = every if floor is None else np.append(every, floor)
            low = float(every.min()) if len(every) else 0.0
            width = (float(np.ptp(every)) if len(every) else 0.0) or 1.0
            ax.plot([0, 1], [row, row], color="#dddddd", zorder=1)
            for k, (colour, label, value) in enumerate(zip(_cycled(), cards, values, strict=False)):
                x = (value - low) / width
                once = label if row == 0 else None
                artists.append(ax.scatter(x, row, color=colour, s=60, label=once, zorder=3))
                # Above and below in turn: values are often close together.
                ax.annotate(
                    f"{round(value, 3) + 0.0:.3g}",
                    (x, row),
                    (0, 9 + 9 * (k // 2) if k % 2 == 0 else -16 - 9 * (k // 2)),
                    textcoords="offset points",
                    ha="center",
                    fontsize="small",
                    color=colour,
                )
            if floor is not None:
                once = "isotropic" if row == 0 else None
                at = (floor - low) / width
                artists += ax.plot(at, row, "|", color=FLOOR, ms=18, mew=2, label=once, zorder=2)
        ax.set_yticks(range(len(self.metrics)), [METRICS[name].title for name in self.metrics])
        ax.set(xticks=[], xlim=(-0.08, 1.08), ylim=(len(self.metrics) - 0.5, -0.6))
        _finish(ax, x="", y="", legend=False)
        ax.spines[["bottom", "left"]].set_visible(False)
        ax.tick_params(length=0)
        ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3)
        return artists
