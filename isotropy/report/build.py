"""Gather what a report shows, and say in plain words what it means."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from isotropy.correctors import ComponentRemoval, MeanRemoval, RankWarning, Whitening
from isotropy.correctors.base import told_elsewhere
from isotropy.metrics import (
    METRICS,
    GroupGap,
    Hubness,
    group_gap,
    hubness,
    marchenko_pastur_spectrum,
)
from isotropy.metrics._inputs import eigenvalues, uncentred_spectrum
from isotropy.moments import Moments
from isotropy.report.page import page
from isotropy.rows.door import as_rows
from isotropy.rows.labels import read_classes
from isotropy.scoring import Comparison, Drift, Interval, compare, drift, intervals
from isotropy.storage.whole import whole_file

__all__ = ["Report", "report"]

_SURE = ("mean_cosine", "isoscore", "effective_rank", "rankme", "resultant_length")
_DRAWN_ROWS, _POINTS, _PAIRS, _BINS, _HUBS = 20_000, 1500, 100_000, 80, 12
_COLOURS = 8
_LONGEST_TEXT = 200


@dataclass(frozen=True, repr=False)
class Report:
    """What a report shows. `save` writes the page; a notebook shows the summary.

    Parameters
    ----------
    title : str
    verdict : list of str
        Sentences.
    comparison : Comparison
        Scorecards of the raw rows and after each corrector.
    intervals : dict of str to Interval
        Of the raw rows.
    hubness : Hubness or None
    drift : Drift or None
    pictures : dict
        Numbers that the page draws.
    groups : dict of str to GroupGap, optional
        How far groups stand apart, in the raw rows and after each corrector.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.report import report
    >>> made = report(np.random.default_rng(0).normal(size=(200, 8)), title="Plain rows")
    >>> made.title, list(made.comparison.scorecards)[:2]
    ('Plain rows', ['raw', 'centred'])
    """

    title: str
    verdict: list[str]
    comparison: Comparison
    intervals: dict[str, Interval]
    hubness: Hubness | None
    drift: Drift | None
    pictures: dict[str, Any]
    groups: dict[str, GroupGap] = field(default_factory=dict)

    def to_html(self) -> str:
        """The whole page; it loads nothing from anywhere."""
        return page(self)

    def to_markdown(self) -> str:
        """Verdict and scorecard, for a pull request."""
        parts = [f"## {self.title}", *self.verdict, "", self.comparison.to_markdown()]
        if self.hubness is not None:
            parts += ["", f"Hubs: {self.hubness}"]
        if self.groups:
            parts += ["", "Groups:", "", "```", str(self.groups["raw"]), "```"]
        if self.drift is not None:
            parts += ["", "```", str(self.drift), "```"]
        return "\n".join(parts) + "\n"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page, or with the suffix .md the Markdown; the file appears whole.

        Parameters
        ----------
        path : path
            Where to write.

        Returns
        -------
        pathlib.Path
            The same.

        Raises
        ------
        isotropy.io.FileError
            If it cannot be written; what was there before stays.
        """
        target = Path(path)
        text = self.to_markdown() if target.suffix == ".md" else self.to_html()
        with whole_file(target) as file:
            file.write(text.encode())
        return target

    def __str__(self) -> str:
        return "\n".join([self.title, *self.verdict, str(self.comparison)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        said = "".join(f"<p>{_escaped(sentence)}</p>" for sentence in self.verdict)
        return f"<h3>{_escaped(self.title)}</h3>{said}{self.comparison._repr_html_()}"


def _escaped(text: str) -> str:
    import html

    return html.escape(text)


def default_correctors(d: int) -> dict[str, Any]:
    """From mild to strong, for rows of d dimensions."""
    k = min(3, d)
    return {
        "centred": MeanRemoval(),
        f"top {k} removed": ComponentRemoval(k),
        "half whitened": Whitening("zca", power=0.5),
        "whitened": Whitening("zca"),
    }


def report(
    X: Any,
    correctors: Mapping[str, Any] | None = None,
    *,
    texts: Sequence[str] | None = None,
    groups: Any = None,
    against: Any = None,
    profile: Any = None,
    title: str = "Embeddings",
    random_state: int = 0,
) -> Report:
    """Look at embeddings from every side, and before and after correctors.

    Parameters
    ----------
    X : array of shape (n, d) or `isotropy.io` rows
    correctors : mapping of str to corrector, optional
        By default centring, three components removed, half and full whitening. They are fitted
        here.
    texts : sequence of str, optional
        Of the rows: shown at the points of the projection and at hubs.
    groups : array of shape (n,), optional
        The group of each row (source, language, genre; None or NaN for none), as `group_gap` takes
        it: figures of how far groups stand apart, and a colour a group in the projection.
    against : like `X`, or Moments, optional
        A reference to hold the rows against, see `isotropy.scoring.drift`.
    profile : isotropy.encoders.LayerProfile, optional
        Layers to show.
    title : str, default="Embeddings"
    random_state : int, default=0
        Of the rows that pictures are drawn from.

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        For fewer than three rows, or as many texts as there are not rows; or as `group_gap` does.

    Notes
    -----
    Scorecards and intervals are of all rows; pictures and hubs of at most 20,000 of them, and
    figures of groups of at most 4,000.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.report import report
    >>> X = np.random.default_rng(0).normal(size=(300, 16)) + 1
    >>> print(report(X).verdict[0])  # doctest: +ELLIPSIS
    Mean cosine 0.5..., where isotropic rows have 0.00: unrelated rows look alike.
    """
    rows = as_rows(X).in_memory()
    n = len(rows)
    if n < 3:
        raise ValueError(f"A report needs three rows or more, got {n}.")
    if texts is not None and len(texts) != n:
        raise ValueError(f"There must be a text for each of the {n} rows, got {len(texts)}.")
    chosen = default_correctors(rows.shape[1]) if correctors is None else dict(correctors)
    if "raw" in chosen:
        raise ValueError(
            "'raw' is the name of the rows as they came; name the corrector otherwise."
        )
    with told_elsewhere(RankWarning):  # the scorecard tells the rank
        table = compare(rows, chosen)
        kept = np.sort(np.random.default_rng(random_state).permutation(n)[: min(n, _DRAWN_ROWS)])
        some = rows[kept].astype(np.float32)
        mapped = {"raw": some}
        for name, corrector in table.correctors.items():
            mapped[name] = corrector.transform(some)
    sure = intervals(rows, [m for m in _SURE if m in METRICS], n_groups=min(20, n))
    hubs = hubness(some, n_neighbors=min(10, len(some) - 1)) if len(some) > 2 else None
    moved = None if against is None else drift(against, rows)
    pictures = _pictures(mapped, None if texts is None else [texts[i] for i in kept], hubs)
    gaps = {}
    if groups is not None:
        labels, codes = read_classes(groups, n)
        of = [None if code < 0 else labels[code] for code in codes[kept]]
        gaps = {name: group_gap(part, of) for name, part in mapped.items()}
        pictures["groups"] = _coloured(of)
    if profile is not None:
        pictures["layers"] = profile.to_dict()
    verdict = _verdict(table, hubs, moved, gaps.get("raw"))
    return Report(title, verdict, table, sure, hubs, moved, pictures, gaps)


# -- pictures ------------------------------------------------------------------------------------


def _points(n: int) -> np.ndarray:
    """The rows, of n, that a projection shows."""
    return np.sort(np.random.default_rng(0).permutation(n)[: min(n, _POINTS)])


def _coloured(of: list[Any]) -> dict[str, Any]:
    """The largest groups, how many rows they have, and that of each point; -1 for all others."""
    largest = Counter(group for group in of if group is not None).most_common(_COLOURS)
    place = {group: k for k, (group, _) in enumerate(largest)}
    return {
        "names": [[str(group), count] for group, count in largest],
        "of": [place.get(of[i], -1) for i in _points(len(of))],
    }


def _pictures(
    mapped: dict[str, np.ndarray], texts: list[str] | None, hubs: Hubness | None
) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    n = len(mapped["raw"])
    points = _points(n)
    first = rng.integers(n, size=_PAIRS)
    second = (first + rng.integers(1, n, size=_PAIRS)) % n
    edges = np.linspace(-1, 1, _BINS + 1)
    spectra, cosines, projections = {}, {}, {}
    for name, rows in mapped.items():
        moments = Moments.from_rows(rows)
        values = eigenvalues(moments)
        shares = values[values > 0] / (values.sum() or 1)
        spectra[name] = _thinned(shares)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        units = rows / np.where(lengths > 0, lengths, 1)
        of_pairs = np.einsum("ij,ij->i", units[first], units[second])
        cosines[name] = (np.histogram(of_pairs, edges)[0] / _PAIRS).round(5).tolist()
        along = uncentred_spectrum(moments)[1][:, :2]
        flat = rows[points].astype(np.float64) @ along
        if flat.shape[1] < 2:
            flat = np.column_stack([flat, np.zeros(len(flat))])
        projections[name] = [[_short(v) for v in point] for point in flat]
    d = mapped["raw"].shape[1]
    floor = marchenko_pastur_spectrum(n, d)
    shown: dict[str, Any] = {
        "spectra": spectra,
        "floor": _thinned(floor[floor > 0] / floor.sum()),
        "cosines": cosines,
        "projections": projections,
    }
    if texts is not None:
        shown["texts"] = [texts[i][:_LONGEST_TEXT] for i in points]
    if hubs is not None:
        shown["hubs"] = [
            {"row": int(i), "count": int(hubs.counts[i])}
            | ({} if texts is None else {"text": texts[i][:_LONGEST_TEXT]})
            for i in hubs.hubs(_HUBS)
        ]
    return shown


def _thinned(shares: np.ndarray, most: int = 200) -> list[list[float]]:
    """(component, share) at no more than `most` components, evenly in the logarithm."""
    if not len(shares):
        return []
    chosen = np.unique(np.geomspace(1, len(shares), min(most, len(shares))).round().astype(int))
    return [[int(k), _short(shares[k - 1])] for k in chosen]


def _short(value: float) -> float:
    return float(f"{value:.4g}")


# -- words ---------------------------------------------------------------------------------------


def _verdict(
    table: Comparison, hubs: Hubness | None, moved: Drift | None, gap: GroupGap | None
) -> list[str]:
    """What the numbers mean, and what they do not."""
    raw = table["raw"]
    d = raw.shape[1]
    cosine, rank = raw["mean_cosine"], raw["effective_rank"]
    top, floor = raw["top_variance_share"], raw.scores["top_variance_share"].floor
    if not np.isfinite(rank):
        return ["The rows are all the same: there is nothing to measure."]
    if cosine > 0.3:
        said = "unrelated rows look alike."
    elif cosine > 0.1:
        said = "a mean direction shows in every row."
    else:
        said = "there is no cone to speak of."
    sentences = [
        f"Mean cosine {round(cosine, 2) + 0.0:.2f}, where isotropic rows have 0.00: {said}"
    ]
    chance = "" if floor is None else f", {_percent(floor)} if isotropic"
    sentences.append(
        f"About their mean, the rows use some {rank:.0f} of {d} dimensions (effective rank); the "
        f"first direction holds {_percent(top)} of the variance{chance}."
    )
    others = {name: card for name, card in table.scorecards.items() if name != "raw"}
    if others:
        told = "; ".join(
            f"{name}: mean cosine {round(card['mean_cosine'], 2) + 0.0:.2f}, effective rank "
            f"{card['effective_rank']:.0f}"
            for name, card in others.items()
        )
        sentences.append(f"After correction, {told}.")
    if hubs is not None:
        sentences.append(
            f"Hubs: {_percent(hubs.anti_hub_rate)} of rows are among no other's "
            f"{hubs.n_neighbors} nearest, and the largest hub is among those of "
            f"{hubs.counts.max():,}."
        )
    if gap is not None:
        sentences.append(_of_groups(gap))
    if moved is not None:
        sentences.append(str(moved).splitlines()[-1])
    if cosine < 0.2:
        sentences.append(
            "A mean this small is what trained encoders have: leave them alone, or correct mildly. "
            "Full whitening costs such encoders up to 15 points in retrieval."
        )
    else:
        sentences.append(
            "A cone this tight gains from centring or half whitening more often than not. That is "
            "geometry: whether your task gains, only the task can say."
        )
    return sentences


def _of_groups(gap: GroupGap) -> str:
    own, probe = gap.neighbors, gap.probe
    if not own.beyond_chance and not probe.beyond_chance:
        return "Groups do not lie apart beyond chance."
    return (
        f"Groups lie apart: {_percent(own.value)} of the {gap.n_neighbors} nearest rows are of a "
        f"row's own group ({_percent(own.floor)} by chance), and a linear probe finds the group of "
        f"{_percent(probe.value)} of rows ({_percent(probe.floor)} by chance)."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
