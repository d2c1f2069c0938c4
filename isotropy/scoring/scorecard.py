"""Score rows with every metric in one pass, and compare correctors on the same metrics."""

from __future__ import annotations

import json
import math
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter

from isotropy._optional import require
from isotropy._render import html_table, markdown_table, number, text_table
from isotropy.affine import AffineMap
from isotropy.metrics._inputs import NeedsRows, WeightType, gather
from isotropy.metrics.registry import METRICS, Metric
from isotropy.moments import Moments, is_small
from isotropy.rows.arrays import check_weights
from isotropy.rows.dask import DaskRows
from isotropy.rows.door import as_rows
from isotropy.rows.source import MappedRows, MemoryRows, Rows
from isotropy.scoring._groups import quietly

__all__ = ["Comparison", "Score", "Scorecard", "compare", "score"]

MetricNames = Sequence[str] | Literal["all"] | None


@dataclass(frozen=True)
class Score:
    """One value, with what helps to read it; None where it is not known.

    Parameters
    ----------
    value : float
        NaN where it is undefined.
    floor : float or None
        About what as many isotropic Gaussian rows get.
    ideal : float or None
        Of a perfectly isotropic distribution.
    better : {"higher", "lower"} or None
        Which way is more isotropic; None where it is the ideal, from both sides.
    low, high : float
        Ends of the metric's range, which the value never leaves.
    p_value : float or None
        How often isotropic rows get as far from the floor.
    standard_error : float or None

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import score
    >>> card = score(np.random.default_rng(0).normal(size=(500, 16)), ["isoscore"])
    >>> found = card.scores["isoscore"]
    >>> found.low, found.high, found.ideal, found.better
    (0.0, 1.0, 1.0, 'higher')
    """

    value: float
    floor: float | None
    ideal: float | None
    better: str | None
    low: float
    high: float
    p_value: float | None = None
    standard_error: float | None = None


@dataclass(frozen=True, repr=False)
class Scorecard(Mapping[str, float]):
    """Values of metrics, each beside the value that isotropic rows would get.

    A mapping of names to values: ``card["isoscore"]``. `print` shows it as a table.

    Parameters
    ----------
    scores : dict of str to Score
        Value, floor, ideal, range, p-value and standard error by metric.
    shape : tuple of int
        (n, d) of the rows scored.
    n : float
        What the weights make of n: the sum of frequencies, Kish's size of probabilities.
    n_zero_rows : int or None
        Rows without a direction; None where the moments do not tell.
    left_out : dict of str to str
        Metrics that were not computed, with the reason and the way to get them.
    notes : tuple of str
        What to know when reading the values: that the rows are those a corrector was fitted on, or
        that nothing but rounding noise is left of them, so that every value is NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import score
    >>> X = np.random.default_rng(0).normal(size=(500, 16)) + 1
    >>> card = score(X, ["mean_cosine", "isoscore"])
    >>> list(card), round(card["mean_cosine"], 1), card.shape
    (['mean_cosine', 'isoscore'], 0.5, (500, 16))
    """

    scores: dict[str, Score]
    shape: tuple[int, int]
    n: float
    n_zero_rows: int | None
    left_out: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> float:
        if name in self.left_out:
            raise KeyError(f"{name} was left out: it {self.left_out[name]}")
        if name not in self.scores:
            known(name)  # an unknown name is told its nearest
            raise KeyError(f"{name} is not on this card; ask for it: metrics=[{name!r}].")
        return self.scores[name].value

    def __iter__(self) -> Iterator[str]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries and numbers; NaN and infinity as Python has them."""
        return {
            "n_rows": self.shape[0],
            "n_features": self.shape[1],
            "n_effective": self.n,
            "n_zero_rows": self.n_zero_rows,
            "metrics": {name: asdict(score) for name, score in self.scores.items()},
            "left_out": dict(self.left_out),
            "notes": list(self.notes),
        }

    def to_json(self, indent: int | None = 2) -> str:
        """`to_dict` as valid JSON: NaN becomes null, infinities the strings "inf" and "-inf".

        Parameters
        ----------
        indent : int or None, default=2
            Spaces a level; None for one line.

        Returns
        -------
        str
        """
        return to_json(self.to_dict(), indent)

    def to_frame(self) -> Any:
        """A pandas data frame, a row for each metric (needs the extra "all")."""
        pandas = require("pandas", extra="all")
        frame = pandas.DataFrame.from_dict(
            {name: asdict(score) for name, score in self.scores.items()}, orient="index"
        )
        return frame.rename_axis("metric")

    def to_markdown(self) -> str:
        """A Markdown table, and what was left out."""
        return "\n".join([markdown_table(*self._table()), *_bullets(self._remarks())])

    def _table(self) -> tuple[list[str], list[list[str]]]:
        header = ["metric", "value", "floor", "ideal", "better", "p-value", "std. error"]
        rows = [
            [
                name,
                number(s.value),
                number(s.floor),
                number(s.ideal),
                _direction(s),
                number(s.p_value),
                number(s.standard_error),
            ]
            for name, s in self.scores.items()
        ]
        used = [k for k in range(len(header)) if k < 5 or any(row[k] for row in rows)]
        return [header[k] for k in used], [[row[k] for k in used] for row in rows]

    def _remarks(self) -> list[str]:
        return [*self.notes, *_left_out_lines(self.left_out)]

    def _caption(self) -> str:
        n, d = self.shape
        text = f"{n:,} rows, {d:,} dimensions"
        if self.n != n:
            text += f", weights amount to {number(self.n)} rows"
        return text + (f", {self.n_zero_rows:,} zero rows" if self.n_zero_rows else "")

    def __str__(self) -> str:
        return _report(self._caption(), self._table(), self._remarks())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_table(*self._table(), caption=self._caption())


def _direction(score: Score) -> str:
    return score.better or ("ideal" if score.ideal is not None else "")


def _left_out_lines(left_out: Mapping[str, str]) -> list[str]:
    """A line for each reason, with all it concerns."""
    reasons: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        reasons.setdefault(reason, []).append(name)
    return [f"left out: {', '.join(names)}: {reason}" for reason, names in reasons.items()]


def _bullets(lines: Sequence[str]) -> list[str]:
    return ["", *(f"- {line}" for line in lines)] if lines else []


def _report(caption: str, table: tuple[list[str], list[list[str]]], notes: Sequence[str]) -> str:
    floor = "floor: about what as many isotropic Gaussian rows get"
    wrapped = [textwrap.fill(note, 96, subsequent_indent="  ") for note in notes]
    return "\n".join([caption, text_table(*table), floor, *wrapped])


def to_json(value: Any, indent: int | None) -> str:
    """JSON that every reader takes: no NaN, no Infinity."""
    return json.dumps(_jsonable(value), indent=indent, allow_nan=False)


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


# -- scoring -------------------------------------------------------------------------------------


def score(
    X: Any,
    metrics: MetricNames = None,
    sample_weight: Any = None,
    *,
    weight_type: WeightType = "frequency",
) -> Scorecard:
    """Measure how isotropic rows are, with many metrics in one pass.

    Parameters
    ----------
    X : array of shape (n, d), numpy, torch or pandas, `isotropy.io` rows, or Moments
    metrics : None, "all", or sequence of names, default=None
        Names of `METRICS`. None takes all that the moments of one pass give, and where that is a
        matter of well under a second also those that need the Gram matrix of the unit rows (which
        doubles the pass) or all pairs of rows. What was not taken is listed in `left_out`.
    sample_weight : array of shape (n,), optional
    weight_type : {"frequency", "probability"}, default="frequency"
        Whether a weight w is w rows, or a relative weight.

    Returns
    -------
    Scorecard

    Raises
    ------
    ValueError
        If a metric is not known, the rows hold NaN or infinity, or there are none.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import score
    >>> card = score(np.random.default_rng(0).normal(size=(500, 16)) + 1)
    >>> round(card["mean_cosine"], 1), round(card["isoscore"], 1)
    (0.5, 1.0)
    """
    rows = _as_rows(X)
    chosen, left_out = _choose(rows, metrics)
    with quietly(rows):
        moments = _gather_for(chosen, rows, sample_weight, weight_type)
        return _score(rows, moments, chosen, left_out, sample_weight, weight_type)


def _as_rows(X: Any) -> Any:
    """Moments as they are, rows in memory as their array, other rows as they come in blocks."""
    if isinstance(X, Moments):
        return X
    rows = as_rows(X)
    n, d = rows.shape
    if d >= 10 * n > 80:
        warnings.warn(
            f"X has {n:,} rows of {d:,} dimensions. Rows are embeddings: if its columns are, pass "
            "X.T.",
            stacklevel=3,
        )
    return rows.array if isinstance(rows, MemoryRows) else rows


def _choose(rows: Any, names: MetricNames) -> tuple[list[Metric], dict[str, str]]:
    if isinstance(names, str) and names != "all":
        raise ValueError(f"metrics must be None, 'all' or a list of names, got {names!r}.")
    if names is not None and names != "all":
        return [known(name) for name in names], {}
    if names == "all" or isinstance(rows, Moments):
        return list(METRICS.values()), {}
    n, d = rows.shape
    costly = {}
    if not is_small(n, d):
        costly["unit_gram"] = "needs the unit Gram matrix, a second pass: metrics='all' takes it"
    if not is_small(d, n):
        costly["rows"] = "needs the rows once more, at a cost: metrics='all' takes it"
    slow = "takes longer than all others together: metrics='all' takes it"
    left_out = {
        m.name: costly.get(m.needs, slow) for m in METRICS.values() if m.needs in costly or m.slow
    }
    return [metric for metric in METRICS.values() if metric.name not in left_out], left_out


def known(name: str) -> Metric:
    """The metric of that name."""
    metric: Metric = METRICS[name]
    return metric


def _gather_for(
    chosen: Sequence[Metric], rows: Any, sample_weight: Any, weight_type: WeightType
) -> Moments:
    with_gram = any(metric.needs == "unit_gram" for metric in chosen)
    if isinstance(rows, Moments):
        return gather(rows, sample_weight)
    return gather(rows, sample_weight, "gram" if with_gram else "sums", weight_type)


def _score(
    rows: Any,
    moments: Moments,
    chosen: Sequence[Metric],
    left_out: Mapping[str, str],
    sample_weight: Any,
    weight_type: WeightType,
) -> Scorecard:
    scores, left_out = {}, dict(left_out)
    nothing = _nothing_left(moments)
    for metric in chosen:
        try:
            if nothing:
                scores[metric.name] = _described(metric, float("nan"), moments)
                continue
            if metric.needs != "rows":
                value = metric.function(moments)
            elif isinstance(rows, Moments):
                raise NeedsRows("needs the rows")
            else:
                at_hand = {"moments": moments} if metric.takes_moments else {}
                value = metric.function(rows, sample_weight, weight_type=weight_type, **at_hand)
        except NeedsRows as reason:
            left_out[metric.name] = str(reason)
        else:
            scores[metric.name] = _described(metric, float(value), moments)
    zero_rows = None if moments.unit == "none" else moments.n_zero_rows
    shape = (moments.n_rows, moments.n_features)
    notes = (_NOTHING_LEFT,) if nothing else ()
    return Scorecard(scores, shape, moments.n_effective, zero_rows, left_out, notes)


def _nothing_left(moments: Moments) -> bool:
    """Whether rows that a corrector made are within the rounding noise of those it was given."""
    if not moments.noise > 0 or moments.scatter is None or moments.rank() > 0:
        return False
    return float(moments.mean @ moments.mean) <= moments.n_features * moments.noise


def _described(metric: Metric, value: float, moments: Moments) -> Score:
    n, d = moments.n_effective, moments.rank() if metric.within_rank else moments.n_features
    low, high = metric.bounds(d)
    value = metric.within(value, d)
    p_value = _where_known(metric.p_value, moments)
    if metric.value_p_value is not None:
        p_value = metric.value_p_value(value, moments)
    if math.isnan(value) and p_value is not None:
        p_value = float("nan")
    return Score(
        value=value,
        floor=metric.floor(n, d),
        ideal=metric.ideal_at(d),
        better=metric.better,
        low=low,
        high=high,
        p_value=p_value,
        standard_error=_where_known(metric.standard_error, moments),
    )


def _where_known(function: Any, moments: Moments) -> float | None:
    if function is None:
        return None
    try:
        return float(function(moments))
    except NeedsRows:
        return None


# -- comparing -----------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Comparison:
    """The same metrics before and after each of several correctors.

    Parameters
    ----------
    scorecards : dict of str to Scorecard
        By corrector; "raw", the rows as they came, is the first.
    correctors : dict of str to corrector
        The fitted ones that were scored, to go on with.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import MeanRemoval, compare
    >>> X = np.random.default_rng(0).normal(size=(500, 16)) + 1
    >>> table = compare(X, {"centred": MeanRemoval()}, ["mean_cosine"])
    >>> round(table["raw"]["mean_cosine"], 1), table.correctors["centred"].transform(X).shape
    (0.5, (500, 16))
    """

    scorecards: dict[str, Scorecard]
    correctors: dict[str, Any] = field(default_factory=dict, compare=False)

    def __getitem__(self, corrector: str) -> Scorecard:
        return self.scorecards[corrector]

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics that at least one column has."""
        return list(dict.fromkeys(name for card in self.scorecards.values() for name in card))

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for each corrector, as `Scorecard.to_dict` has it."""
        return {name: card.to_dict() for name, card in self.scorecards.items()}

    def to_json(self, indent: int | None = 2) -> str:
        """`to_dict` as valid JSON: NaN becomes null, infinities the strings "inf" and "-inf".

        Parameters
        ----------
        indent : int or None, default=2
            Spaces a level; None for one line.

        Returns
        -------
        str
        """
        return to_json(self.to_dict(), indent)

    def to_frame(self) -> Any:
        """A pandas data frame of values, metrics by correctors (needs the extra "all")."""
        pandas = require("pandas", extra="all")
        columns = {name: dict(card) for name, card in self.scorecards.items()}
        return pandas.DataFrame(columns, index=self.metrics).rename_axis("metric")

    def to_markdown(self) -> str:
        """A Markdown table, and what was left out."""
        return "\n".join([markdown_table(*self._table()), *_bullets(self._remarks())])

    def _table(self) -> tuple[list[str], list[list[str]]]:
        raw = next(iter(self.scorecards.values()))
        rows = []
        widths = [str(card.shape[1]) for card in self.scorecards.values()]
        if len(set(widths)) > 1:
            rows.append(["(dimensions)", *widths, "", ""])
        for name in self.metrics:
            values = [
                number(card.scores[name].value) if name in card else ""
                for card in self.scorecards.values()
            ]
            known = next(c.scores[name] for c in (raw, *self.scorecards.values()) if name in c)
            rows.append([name, *values, number(known.floor), number(known.ideal)])
        return ["metric", *self.scorecards, "floor", "ideal"], rows

    def _remarks(self) -> list[str]:
        """What holds of all columns, what none has, then what is said of single ones."""
        raw, *others = self.scorecards.items()
        lines = _left_out_lines(raw[1].left_out)
        for name, card in others:
            lacking = {k: why for k, why in card.left_out.items() if k in raw[1]}
            if lacking and not card.scores:
                lines.append(f"{name}: {next(iter(lacking.values()))}")
            else:
                lines += [f"{name}: {line}" for line in _left_out_lines(lacking)]
            lines += [f"{name}: {note}" for note in card.notes if note != _IN_SAMPLE]
        if any(_IN_SAMPLE in card.notes for _, card in others):
            lines.insert(0, _IN_SAMPLE)
        return lines

    def _caption(self) -> str:
        return next(iter(self.scorecards.values()))._caption()

    def __str__(self) -> str:
        return _report(self._caption(), self._table(), self._remarks())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_table(*self._table(), caption=self._caption())


def compare(
    X: Any,
    correctors: Mapping[str, Any],
    metrics: MetricNames = None,
    sample_weight: Any = None,
    *,
    weight_type: WeightType = "frequency",
    refit: bool = True,
) -> Comparison:
    """Score rows before and after correctors, with the same metrics.

    Rows are corrected block by block and measured at once: no second array of them is held,
    unless a metric needs all rows together.

    Parameters
    ----------
    X : array of shape (n, d), `isotropy.io` rows, or Moments
        From Moments, correctors are fitted and metrics follow in closed form; a corrector then
        needs `fit_moments` and `affine_map_`, and what needs the corrected rows is left out.
    correctors : dict of str to estimator or None
        Anything with `fit` and `transform`, pipelines included. None stands for the raw rows.
    metrics, sample_weight, weight_type
        As in `score`. Weights reach `fit` too, unless `refit` is False, and mean the same there: a
        corrector's own `weight_type` gives way.
    refit : bool, default=True
        Fit a clone of each corrector to `X`; the estimators given stay as they are. Scores are
        then in-sample, of the rows fitted on, and a note says so. False takes the correctors as
        fitted already, on other rows perhaps.

    Returns
    -------
    Comparison

    Raises
    ------
    TypeError
        If `correctors` is no mapping, or holds a class or something without fit and transform.
    ValueError
        If a corrector is named "raw", cannot be fitted from what is given, or as in `score`.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import MeanRemoval, compare
    >>> X = np.random.default_rng(0).normal(size=(500, 16)) + 1
    >>> table = compare(X, {"centred": MeanRemoval()}, metrics=["mean_cosine"])
    >>> {name: round(card["mean_cosine"], 1) + 0.0 for name, card in table.scorecards.items()}
    {'raw': 0.5, 'centred': 0.0}
    """
    _check_named(correctors, refit)
    rows = _as_rows(X)
    chosen, left_out = _choose(rows, metrics)
    how = (chosen, left_out, sample_weight, weight_type)
    with quietly(rows):
        moments = _gather_for(chosen, rows, sample_weight, weight_type)
        cards, fitted = {_RAW: _score(rows, moments, *how)}, {}
        for name, corrector in correctors.items():
            if corrector is None:
                cards[name] = cards[_RAW]
                continue
            if refit:
                corrector = _fitted(name, corrector, rows, moments, sample_weight, weight_type)
            fitted[name] = corrector
            card = _card_after(corrector, rows, moments, how)
            cards[name] = replace(card, notes=(*card.notes, _IN_SAMPLE)) if refit else card
    return Comparison(cards, fitted)


_RAW = "raw"
_IN_SAMPLE = (
    "Each corrector is scored on the rows it was fitted on: later rows score a little less."
)
_NOTHING_LEFT = "No spread left: what there is lies within the rounding noise of the rows given."


def _check_named(correctors: Any, refit: bool) -> None:
    """Raise where `correctors` is no mapping of names to objects that transform."""
    if not isinstance(correctors, Mapping):
        kind = type(correctors).__name__
        raise TypeError(
            f"correctors must be a mapping of names to correctors, got a {kind}. Name each: "
            'compare(X, {"whitened": Whitening()}).'
        )
    if _RAW in correctors:
        raise ValueError(
            "'raw' is the name of the rows as they came; give the corrector another name."
        )
    for name, corrector in correctors.items():
        if not isinstance(name, str):
            raise TypeError(
                f"correctors must be named by str, got the name {name!r}, a "
                f"{type(name).__name__}. {str(name)!r} is one."
            )
        if isinstance(corrector, type):
            raise TypeError(
                f"corrector {name!r} is the class {corrector.__name__}; make one of it: "
                f"{corrector.__name__}()."
            )
        missing = [m for m in ("fit", "transform")[not refit :] if not hasattr(corrector, m)]
        if corrector is not None and missing:
            raise TypeError(
                f"corrector {name!r} is a {type(corrector).__name__}, which has no {missing[0]}. "
                "A corrector has fit and transform; None stands for the rows as they are."
            )


def _card_after(corrector: Any, rows: Any, before: Moments, how: tuple[Any, ...]) -> Scorecard:
    """The scorecard of the rows that a fitted corrector makes."""
    chosen, left_out, sample_weight, weight_type = how
    if isinstance(rows, Moments):
        return _score_mapped(corrector, rows, chosen)
    corrected: Any = _corrected(rows, corrector)
    if any(metric.needs == "rows" for metric in chosen) and not isinstance(corrected, DaskRows):
        corrected = as_rows(corrected).in_memory()
    moments = _gather_for(chosen, corrected, sample_weight, weight_type)
    moments.noise = max(moments.noise, _noise_after(corrector, before))
    return _score(corrected, moments, chosen, left_out, sample_weight, weight_type)


def _noise_after(corrector: Any, before: Moments) -> float:
    """The variance along a direction that rounding alone may leave after an affine corrector.

    Of a pipeline step by step: what a step rounds at the size of its rows, the next one maps. 0
    where it is not known.
    """
    if before.scatter is None:
        return 0.0
    *earlier, last = _steps(corrector) or [None]
    for step in earlier:
        affine = _affine(step)
        if affine is None or getattr(step, "normalize", "none") != "none":
            return 0.0
        noise = _noise_after_step(step, affine, before)
        before = before.mapped(affine.matrix, affine.apply(before.mean[None])[0])
        before.noise = noise
    affine = _affine(last)
    return 0.0 if affine is None else _noise_after_step(last, affine, before)


def _steps(corrector: Any) -> list[Any]:
    """The estimators that rows go through in turn, those of inner pipelines too."""
    if corrector is None or isinstance(corrector, str):  # "passthrough"
        return []
    if not hasattr(corrector, "steps"):
        return [corrector]
    return [inner for _, step in corrector.steps for inner in _steps(step)]


def _affine(corrector: Any) -> AffineMap | None:
    """The affine map of a fitted estimator, None where it is none."""
    own: AffineMap | None = getattr(corrector, "affine_map_", None)
    if own is not None:
        return own
    try:
        return AffineMap.from_sklearn(corrector)
    except ValueError:
        return None


def _noise_after_step(corrector: Any, affine: AffineMap, before: Moments) -> float:
    """The rounding noise of the rows given, times the largest factor of the map.

    Rows that the map leaves next to nothing of are noise still when scaled to length one.
    """
    normalize = getattr(corrector, "normalize", "none")
    noise = before.noise_floor(float(before.eigenvalues(0)[0]))
    away = before.mean - affine.mean
    size = float(np.trace(before.covariance(0)) + away @ away)
    if normalize in ("before", "both") and not before.normalize:
        noise /= max(before.norm_square_sum / before.total_weight, noise)
        size = 1.0
    gain = float(np.linalg.norm(affine.matrix, 2)) ** 2
    if affine.removed is not None:  # subtracted from the row itself
        gain = max(1.0, gain)
        noise = max(noise, _noise_of_products(size, before))
    noise *= gain
    if normalize == "after":
        mean = affine.apply(before.mean[None])[0]
        size = np.vdot(affine.matrix, before.covariance(0) @ affine.matrix) + mean @ mean
        noise /= max(float(size), noise, np.finfo(float).tiny)
    return float(noise)


def _noise_of_products(size: float, rows: Moments) -> float:
    """The variance that products of rows, of mean square length `size`, leave by rounding.

    A sum of d products is rounded at each term, about eps |z| |a| / sqrt(8) in all for a row z and
    a unit vector a where signs are mixed, whatever d is; unit vectors are rounded as well, which
    moves all rows together where they lie along one. 4 eps |z| is above either.
    """
    wide, narrow = (float(np.finfo(kind).eps) for kind in (np.float64, np.float32))
    eps = narrow if rows.input_eps >= narrow else wide  # the map works in float32 at least
    return 16 * eps**2 * size


def _fitted(
    name: str,
    corrector: Any,
    rows: Any,
    moments: Moments,
    sample_weight: Any,
    weight_type: WeightType,
) -> Any:
    """A clone fitted to the moments at hand where they are of the kind it wants, else to the rows.

    The weights mean to it what they mean to the metrics.
    """
    fitted = clone(corrector, safe=False)
    if "weight_type" in getattr(fitted, "get_params", dict)():
        fitted.set_params(weight_type=moments.weight_type)
    if has_fit_parameter(fitted, "z") or has_fit_parameter(fitted, "groups"):
        raise ValueError(
            f"corrector {name!r} learns from labels: fit it first, and say refit=False."
        )
    from_moments = hasattr(fitted, "fit_moments")
    if isinstance(rows, Moments):
        if not from_moments:
            raise ValueError(
                f"corrector {name!r} cannot be fitted to Moments: it has no fit_moments. Pass the "
                "rows, or fit it first and say refit=False."
            )
        return fitted.fit_moments(moments)
    normalizes = getattr(fitted, "normalize", "none") in ("before", "both")
    weighs = getattr(fitted, "weight_type", "frequency")
    if from_moments and not normalizes and weighs == moments.weight_type:
        return fitted.fit_moments(moments)
    if not from_moments:
        rows = as_rows(rows).in_memory()
    if sample_weight is None:
        return fitted.fit(rows)
    if not has_fit_parameter(fitted, "sample_weight"):
        raise ValueError(
            f"corrector {name!r} takes no sample_weight. Fit it first, in the way it can be "
            "weighted, and say refit=False."
        )
    if moments.weight_type == "probability" and weighs == "frequency":
        # It counts weights as rows, so they must add up to as many rows as they are worth.
        weights = check_weights(sample_weight, len(as_rows(rows)))
        assert weights is not None
        sample_weight = weights * (moments.n_effective / weights.sum())
    return fitted.fit(rows, sample_weight=sample_weight)


def _score_mapped(corrector: Any, moments: Moments, chosen: Sequence[Metric]) -> Scorecard:
    """The scorecard after an affine map, in closed form."""
    affine = getattr(corrector, "affine_map_", None)
    normalize = getattr(corrector, "normalize", "none")
    if affine is None:
        reason = "needs the corrected rows: the corrector is not an affine map"
    elif normalize in ("after", "both"):
        reason = "needs the corrected rows: the corrector normalizes after"
    elif (normalize == "before") != moments.normalize:
        reason = f"needs rows that suit normalize={normalize!r} of the corrector"
    else:
        mean = affine.apply(moments.mean[None])[0]
        mapped = moments.mapped(affine.matrix, mean)
        mapped.noise = max(mapped.noise, _noise_after(corrector, moments))
        card = _score(mapped, mapped, chosen, {}, None, moments.weight_type)
        return replace(card, left_out=dict.fromkeys(card.left_out, "needs the corrected rows"))
    n, d = moments.n_effective, moments.n_features
    left_out = {metric.name: reason for metric in chosen}
    return Scorecard({}, (moments.n_rows, d), n, None, left_out)


def _corrected(rows: Any, corrector: Any) -> Rows:
    """Rows as a corrector gives them back, never all at once."""
    if isinstance(rows, DaskRows) and hasattr(corrector, "affine_map_"):
        return as_rows(corrector.transform(rows.source))
    rows = as_rows(rows)
    width = corrector.transform(rows.take([0])).shape[1]
    return MappedRows(rows, corrector.transform, width)
