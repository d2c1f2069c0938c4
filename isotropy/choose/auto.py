"""A corrector that chooses the correction, none included, and says why."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.base import clone

from isotropy.affine import AffineMap, Normalize, check_normalize
from isotropy.choose.evidence import (
    ClassLabels,
    Evidence,
    JudgedQueries,
    Overlap,
    PairScores,
    Views,
)
from isotropy.correctors.base import AffineCorrector
from isotropy.correctors.components import ComponentRemoval
from isotropy.correctors.pairs import check_pairs
from isotropy.correctors.tapered import TaperedWhitening
from isotropy.correctors.whitening import Whitening
from isotropy.moments import Moments
from isotropy.rows.arrays import as_matrix, is_block_source, is_dask, is_torch

__all__ = ["AutoCorrector", "AutoReport", "word_dropout"]

_POWERS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
_REMOVED = (1, 2, 3, 5, 8, 12, 16, 24)
_SAMPLE = 3000
_LEAST_TEXTS = 50
_CONE = 0.2


def word_dropout(texts: Sequence[str], share: float = 0.3, random_state: int = 0) -> list[str]:
    """The texts without a random `share` of their words; at least one stays."""
    draw = np.random.default_rng(random_state)
    shorter = []
    for text in texts:
        words = text.split()
        kept = [word for word in words if draw.random() >= share]
        shorter.append(" ".join(kept or words[:1]))
    return shorter


@dataclass(frozen=True)
class AutoReport:
    """What `AutoCorrector` looked at.

    Attributes
    ----------
    criterion : str
        What the candidates were judged by.
    reason : str
        A sentence.
    candidates : list of dict
        Least correction first: "corrector", "value", "difference" (to no correction), "low" and
        "high" (95 % interval of the difference), "chosen".
    """

    criterion: str
    reason: str
    candidates: list[dict[str, Any]]

    def __str__(self) -> str:
        lines = [self.reason, "", f"Criterion: {self.criterion}."]
        for entry in self.candidates:
            mark = ">" if entry["chosen"] else " "
            if entry["value"] is None:
                lines.append(f"{mark} {entry['corrector']}")
                continue
            low, high = entry["low"], entry["high"]
            lines.append(
                f"{mark} {entry['corrector']:<30} {entry['value']:8.4f}  "
                f"{entry['difference']:+.4f} ({low:+.4f} to {high:+.4f})"
            )
        return "\n".join(lines)


class AutoCorrector(AffineCorrector):
    """Choose the correction on the data at hand; leaving embeddings alone is an answer too.

    What is passed to `fit` beside the embeddings decides how:

    - **labels** (pairs with scores, classes, or queries with their relevant rows): the candidate
      whose cosines serve them best; of those within `tolerance` standard errors of the best, the
      one that corrects least.
    - **texts**: the strongest candidate whose cosines agree with word overlap no less than those of
      the raw rows do, over all pairs of texts and within each text. A correction takes away what
      texts share whatever they say; once it takes away what they say, agreement falls below that of
      the raw rows. With **views** (embeddings of the same texts, shortened or from another layer),
      or an `encoder` to make them from the texts by word dropout, and ``criterion="views"``: the
      candidate under which a text is found best by its view (InfoNCE).
    - **embeddings alone**: none where the mean cosine is below 0.2, else a tapered whitening whose
      power is twice the mean cosine, 1 at most. That is a rule of thumb: it cannot tell an inner
      layer from a trained encoder whose rows are alike because the texts are. Pass texts if there
      are any.

    With labels and texts, the label-free choice is taken if it is among those.

    Parameters
    ----------
    candidates : list of affine correctors, optional
        Unfitted, least correction first; each must follow from moments alone. By default
        `TaperedWhitening` of powers 0.25 to 2, with labels also `ComponentRemoval` of 1 to 24
        directions. No correction is always a candidate, and the first.
    n_components : int, optional
        Keep this many dimensions, whatever is chosen: all default candidates rotate into them.
    criterion : {"overlap", "views"}, default="overlap"
        What texts are used for.
    tolerance : float, default=0.5
        In standard errors of the difference to the best.
    encoder : callable, optional
        Takes a list of texts, gives their embeddings: for views.
    random_state : int, default=0
        Draws the rows that criteria see, 3,000 at most.
    normalize : {"none", "before", "after", "both"}, default="none"

    Attributes
    ----------
    corrector_ : affine corrector or None
        The one chosen, fitted; None for no correction.
    chosen_ : str
    reason_ : str
    report_ : AutoReport
        Of the last `fit`; not kept in files.

    Notes
    -----
    All candidates are solved from one set of moments. Over seven STS sets and eight layers of
    MiniLM, `benchmarks/choose.py` has the distance of the choices to the best of 24 settings.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import AutoCorrector
    >>> X = np.random.default_rng(0).normal(size=(400, 16))
    >>> AutoCorrector().fit(X).chosen_
    'none'
    >>> AutoCorrector().fit(X + 3).chosen_
    'TaperedWhitening(power=1.0)'
    """

    _not_saved = AffineCorrector._not_saved | {"corrector_", "report_"}
    _pick: tuple[AffineCorrector | None, str, AutoReport] | None
    chosen_: str
    report_: AutoReport

    def __init__(
        self,
        candidates: list[AffineCorrector] | None = None,
        *,
        n_components: int | None = None,
        criterion: str = "overlap",
        tolerance: float = 0.5,
        encoder: Callable[[list[str]], Any] | None = None,
        random_state: int = 0,
        normalize: Normalize = "none",
    ) -> None:
        self.candidates = candidates
        self.n_components = n_components
        self.criterion = criterion
        self.tolerance = tolerance
        self.encoder = encoder
        self.random_state = random_state
        self.normalize = normalize

    # -- fitting -----------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        texts: Sequence[str] | None = None,
        views: Any = None,
        classes: Any = None,
        pairs: Any = None,
        pair_scores: Any = None,
        queries: Any = None,
        relevant: Sequence[Any] | None = None,
    ) -> Self:
        """Choose and learn the map.

        Parameters
        ----------
        X : array of shape (n, d), or `isotropy.io` rows
        y : ignored
        sample_weight : array of shape (n,), optional
            For the moments; criteria do not know weights.
        texts : sequence of n str, optional
        views : array of shape (n, d), optional
        classes : array of shape (n,), optional
        pairs : int array of shape (m, 2), optional
            Row numbers of `X`, with `pair_scores` of shape (m,).
        queries : array of shape (q, d) or Moments, optional
            As in every corrector: see `transform_queries`.
        relevant : sequence of q collections of row numbers, or dicts of grades, optional

        Raises
        ------
        ValueError
            If a row holds NaN or infinity, or what is passed does not fit together.
        """
        check_normalize(self.normalize)
        self._check_parameters()
        with self._new_fit(queries):
            if not (is_block_source(X) or is_dask(X)):
                X = self._check_rows(X, reset=True)
            n = int(X.shape[0])
            labels, label_free = self._evidence(
                X, n, classes, texts, views, pairs, pair_scores, queries, relevant
            )
            moments = self._new_moments().update(X, sample_weight)
            if not moments.total_weight > 0:
                raise ValueError("Every weight is zero (0 samples count); at least 1 must not be.")
            Q = None if relevant is None else self._numbers(queries)
            self._judge(X, moments, labels, label_free, views, texts, Q)
            self._finish(moments)
        return self

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Bring in more rows and choose again, from the embeddings alone.

        What was chosen with texts or labels stays; its map follows the new moments.
        """
        return super().partial_fit(X, None, sample_weight)

    def fit_moments(self, moments: Moments, *, queries: Any = None) -> Self:
        """Choose from `Moments` alone, gathered with ``unit="sums"``."""
        self._check_parameters()
        self._pick = None
        return super().fit_moments(moments, queries=queries)

    def _check_parameters(self) -> None:
        if self.criterion not in ("overlap", "views"):
            raise ValueError(f"criterion must be 'overlap' or 'views', got {self.criterion!r}.")
        if isinstance(self.tolerance, bool | str) or not self.tolerance >= 0:
            raise ValueError(f"tolerance must be a number of at least 0, got {self.tolerance!r}.")
        for candidate in self.candidates or ():
            if not isinstance(candidate, AffineCorrector):
                raise ValueError(f"candidates must be affine correctors, got {candidate!r}.")

    def _evidence(
        self,
        X: Any,
        n: int,
        classes: Any,
        texts: Any,
        views: Any,
        pairs: Any,
        pair_scores: Any,
        queries: Any,
        relevant: Any,
    ) -> tuple[Evidence | None, Evidence | None]:
        given = [
            name
            for name, value in (("classes", classes), ("pairs", pairs), ("relevant", relevant))
            if value is not None
        ]
        if len(given) > 1:
            raise ValueError(f"labels of one kind at a time, got {' and '.join(given)}.")
        if (relevant is not None) and (queries is None or len(queries) != len(relevant)):
            raise ValueError("relevant needs queries: one entry for each row of queries.")
        draw = np.random.default_rng(self.random_state)
        some = np.sort(draw.permutation(n)[:_SAMPLE])
        labels: Evidence | None = None
        if pairs is not None:
            numbers, scores = check_pairs(pairs, pair_scores, n, need_scores=True)
            assert scores is not None
            labels = PairScores(numbers, scores)
        elif classes is not None:
            named = np.asarray([str(label) for label in np.asarray(classes).ravel()])
            if len(named) != n or len(set(named.tolist())) < 2:
                raise ValueError(
                    f"classes must be one a row, {n}, of at least two kinds, got {len(named)} of "
                    f"{len(set(named.tolist()))}."
                )
            labels = ClassLabels(named, some)
        elif relevant is not None:
            labels = JudgedQueries(relevant, n)
        label_free: Evidence | None = None
        if texts is not None:
            texts = list(texts)
            if len(texts) != n or not all(isinstance(text, str) for text in texts):
                raise ValueError(f"texts must be {n} strings, one a row, got {len(texts)}.")
        if views is not None and tuple(views.shape) != (n, X.shape[1]):
            raise ValueError(f"views must have shape {(n, X.shape[1])}, got {tuple(views.shape)}.")
        if self.criterion == "views":
            if views is None and (texts is None or self.encoder is None):
                raise ValueError("criterion='views' needs views, or texts and an encoder.")
            label_free = Views(some)
        elif texts is not None and n >= _LEAST_TEXTS and any(map(_has_words, texts)):
            label_free = Overlap(texts, some)
        return labels, label_free

    def _numbers(self, rows: Any) -> np.ndarray:
        rows = as_matrix(rows)
        rows = rows.double().cpu().numpy() if is_torch(rows) else rows.astype(np.float64)
        if self.normalize in ("before", "both"):
            norms = np.linalg.norm(rows, axis=1, keepdims=True)
            rows = rows / np.where(norms > 0, norms, 1)
        return rows

    def _taken(self, X: Any, numbers: np.ndarray) -> np.ndarray:
        """Some rows in float64, from any source."""
        if is_dask(X) or (is_block_source(X) and getattr(X, "array", None) is None):
            if is_dask(X):
                from isotropy.rows.dask import DaskRows

                X = DaskRows(X)
            parts, start = [], 0
            for block in X.blocks():
                inside = numbers[(numbers >= start) & (numbers < start + len(block))]
                parts.append(np.array(block[inside - start], np.float64))
                start += len(block)
            return self._numbers(np.concatenate(parts))
        return self._numbers(as_matrix(X.array if is_block_source(X) else X)[numbers])

    # -- choosing ----------------------------------------------------------------------------

    def _candidates(self, d: int, labelled: bool) -> list[AffineCorrector | None]:
        if self.candidates is not None:
            return [None, *(clone(candidate) for candidate in self.candidates)]
        k = self.n_components
        tapered = [TaperedWhitening(power, n_components=k) for power in _POWERS]
        found: list[AffineCorrector] = list(tapered)
        if labelled and k is None:
            found += [ComponentRemoval(count) for count in _REMOVED if count <= d // 8]
        return [None, *found]

    def _map(self, candidate: AffineCorrector | None, moments: Moments) -> AffineMap:
        if candidate is not None:
            candidate.normalize = self.normalize
            return candidate.fit_moments(moments).affine_map_
        d = moments.n_features
        if self.n_components is None:
            return AffineMap(np.zeros(d))
        # Fewer dimensions without a correction: those in which rows are longest.
        rotation = Whitening(power=0.0, mean_strength=0.0, n_components=self.n_components)
        rotation.normalize = self.normalize
        return rotation.fit_moments(moments).affine_map_

    def _judge(
        self,
        X: Any,
        moments: Moments,
        labels: Evidence | None,
        label_free: Evidence | None,
        views: Any,
        texts: Any,
        Q: np.ndarray | None,
    ) -> None:
        if labels is None and label_free is None:
            self._pick = None
            return
        options = self._candidates(moments.n_features, labels is not None)
        maps = [self._map(option, moments) for option in options]
        free = None
        if label_free is not None:
            rows = self._taken(X, label_free.rows)
            if isinstance(label_free, Overlap):
                found = [label_free.both(affine.apply(rows)) for affine in maps]
                whole = np.array([[both[0][0], both[1][0]] for both in found])
                agree = [
                    index
                    for index, option in enumerate(options)
                    if isinstance(option, TaperedWhitening) or self.candidates is not None
                    if index and (whole[index] > whole[0]).all()
                ]
                free = agree[-1] if agree else 0
                values = np.array([both[0] for both in found])
            else:
                seen = self._views(label_free.rows, views, texts)
                values = np.array(
                    [label_free.values(affine.apply(rows), affine.apply(seen)) for affine in maps]
                )
                free = int(np.flatnonzero(self._good(values))[0])
        if labels is None:
            assert free is not None and label_free is not None
            self._tell(options, values, label_free, free, resampled=isinstance(label_free, Views))
            return
        rows = self._taken(X, labels.rows)
        values = np.array(
            [
                labels.values(
                    affine.apply(rows),
                    None if Q is None else _of_queries(affine, moments, Q.mean(0)).apply(Q),
                )
                for affine in maps
            ]
        )
        good = self._good(values)
        pick = free if free is not None and good[free] else int(np.flatnonzero(good)[0])
        self._tell(options, values, labels, pick, resampled=True)

    def _views(self, numbers: np.ndarray, views: Any, texts: Any) -> np.ndarray:
        if views is not None:
            return self._taken(views, numbers)
        assert self.encoder is not None
        chosen = [texts[int(number)] for number in numbers]
        return self._numbers(self.encoder(word_dropout(chosen, random_state=self.random_state)))

    def _good(self, values: np.ndarray) -> np.ndarray:
        """Which candidates are within `tolerance` standard errors of the best."""
        best = int(values[:, 0].argmax())
        errors = (values[:, 1:] - values[best, 1:]).std(1)
        good: np.ndarray = values[:, 0] >= values[best, 0] - self.tolerance * errors
        return good

    def _tell(
        self,
        options: list[AffineCorrector | None],
        values: np.ndarray,
        evidence: Evidence,
        pick: int,
        *,
        resampled: bool,
    ) -> None:
        names = [_named(option) for option in options]
        apart = values - values[0]
        # Resamples are spread as the value is; tenths of the texts sqrt(10) times as much.
        errors = apart[:, 1:].std(1) / (1 if resampled else np.sqrt(values.shape[1] - 1))
        gained, error = apart[pick, 0], errors[pick]
        if pick == 0:
            reason = (
                f"No correction: none of {len(options) - 1} candidates is better than the raw rows "
                f"by the {evidence.name}."
            )
        else:
            reason = (
                f"{names[pick]}: the {evidence.name} goes from {values[0, 0]:.3f} to "
                f"{values[pick, 0]:.3f} ({gained:+.3f}, standard error {error:.3f})."
            )
        table = [
            {
                "corrector": name,
                "value": float(row[0]),
                "difference": float(gap[0]),
                "low": float(gap[0] - 1.96 * spread),
                "high": float(gap[0] + 1.96 * spread),
                "chosen": index == pick,
            }
            for index, (name, row, gap, spread) in enumerate(
                zip(names, values, apart, errors, strict=True)
            )
        ]
        self._pick = options[pick], names[pick], AutoReport(evidence.name, reason, table)

    def _solve(self, moments: Moments) -> AffineMap:
        pick = getattr(self, "_pick", None)
        if pick is None:
            pick = self._from_spectrum(moments)
        self.corrector_, self.chosen_, self.report_ = pick
        self.reason_ = self.report_.reason
        return self._map(self.corrector_, moments)

    def _from_spectrum(self, moments: Moments) -> tuple[Any, str, AutoReport]:
        """Mean cosine below 0.2: leave the rows alone; else of a power that grows with it."""
        from isotropy.metrics import mean_cosine

        cosine = float(mean_cosine(moments))
        options = self._candidates(moments.n_features, False)
        cone = bool(cosine >= _CONE)
        index = 0
        if cone:
            wanted = min(1.0, 2 * cosine)
            if self.candidates is None:
                index = 1 + int(np.abs(np.array(_POWERS) - wanted).argmin())
            else:
                index = min(len(options) - 1, max(1, round(wanted * (len(options) - 1))))
        names = [_named(option) for option in options]
        told = f"The mean cosine of the rows is {cosine:.2f}"
        reason = (
            f"{names[index]}: {told[0].lower()}{told[1:]}, so they lie in a cone. Without texts or "
            "labels this is a rule of thumb; pass texts to choose by what they say."
            if cone
            else f"No correction: {told[0].lower()}{told[1:]}, below {_CONE}."
        )
        table = [
            {
                "corrector": name,
                "value": None,
                "difference": None,
                "low": None,
                "high": None,
                "chosen": k == index,
            }
            for k, name in enumerate(names)
        ]
        return options[index], names[index], AutoReport("mean cosine of the rows", reason, table)

    def _moments_order(self) -> Any:
        return 2

    def _new_moments(self) -> Moments:
        return Moments(unit="sums", order=2, normalize=self.normalize in ("before", "both"))


def _has_words(text: str) -> bool:
    return re.search(r"\w", text) is not None


def _of_queries(affine: AffineMap, moments: Moments, mean: np.ndarray) -> AffineMap:
    if not (affine.mean.any() or affine.offset.any()):
        return affine
    return affine.about(mean, of=moments.mean)


def _named(option: AffineCorrector | None) -> str:
    if option is None:
        return "none"
    parameters = [
        f"{name}={value!r}"
        for name, value in option.get_params().items()
        if name in ("power", "n_components") and value is not None
    ]
    return f"{type(option).__name__}({', '.join(parameters)})"
