"""A corrector that chooses the correction, none included, and says why."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import clone

from isotropy.affine import AffineMap, Normalize, check_normalize
from isotropy.choose.candidates import Candidate, candidates, check_candidates, fitted, untouched
from isotropy.choose.decision import SPECTRUM, Decision, by_evidence, by_mean_cosine
from isotropy.choose.evidence import Evidence, Given, SaysNothingError, Verdict
from isotropy.choose.report import AutoReport
from isotropy.correctors.base import AffineCorrector, Corrector
from isotropy.metrics import mean_cosine
from isotropy.moments import Moments
from isotropy.rows import Rows

__all__ = ["AutoCorrector"]

_CHOSEN = "chosen."


class AutoCorrector(AffineCorrector):
    """Choose the correction on the data at hand; leaving embeddings alone is an answer too.

    What is passed to `fit` beside the embeddings decides how:

    - **labels** (pairs with scores, classes, or queries with their relevant rows): the candidate
      whose cosines serve them best; of those within `tolerance` standard errors of the best, the
      one that corrects least.
    - **texts**: the strongest candidate whose cosines agree with word overlap better than those of
      the raw rows do, over all pairs of texts and within each text. A correction takes away what
      texts share whatever they say; once it takes away what they say, agreement falls below that of
      the raw rows. Where a language writes no spaces between words, pairs of characters count.
      Texts that say nothing of the rows (fewer than 50, all alike, without words, or in no better
      agreement than when shuffled) are left out, and the report says so. With **views** (embeddings
      of the same texts, shortened or from another layer), or an `encoder` to make them from the
      texts by word dropout, and ``criterion="views"``: the candidate under which a text is found
      best by its view (InfoNCE).
    - **embeddings alone**: none where the mean cosine is below 0.2, else a tapered whitening whose
      power is twice the mean cosine, 1 at most. That is a rule of thumb: it cannot tell an inner
      layer from a trained encoder whose rows are alike because the texts are. Pass texts if there
      are any.

    With labels and texts, the label-free choice is taken if it is among those.

    Parameters
    ----------
    candidates : list of affine correctors, optional
        Unfitted, least correction first; each must follow from moments alone. Clones of them are
        tried, with the `normalize` of this object. By default `TaperedWhitening` of powers 0.25 to
        2, with labels also `ComponentRemoval` of 1 to 24 directions. No correction is always a
        candidate, and the first.
    n_components : int, optional
        Keep this many dimensions, whatever is chosen: all default candidates rotate into them.
    criterion : {"overlap", "views"}, default="overlap"
        What texts are used for.
    tolerance : float, default=0.5
        In standard errors of the difference to the best; at least 0.
    encoder : callable, optional
        Takes a list of texts, gives their embeddings: for views. Not kept in files.
    random_state : int, default=0
        Draws the rows that criteria see, 3,000 at most.
    normalize : {"none", "before", "after", "both"}, default="none"
        Scale rows to length one before the correction, after, or both.

    Attributes
    ----------
    corrector_ : affine corrector or None
        The one chosen, fitted; None for no correction.
    chosen_ : str
        Its name, or "none".
    reason_ : str
        The choice in a sentence or two.
    report_ : AutoReport
        What was tried, and how it did.

    Notes
    -----
    All candidates are solved from one set of moments: n d^2 + O(d^3), and with texts or labels the
    cosines of 3,000 rows for each candidate.

    **The choice by texts is for graded similarity.** Where rows are clustered or classified it did
    harm in most cells that `benchmarks/choose.py` measures, by up to half the V-measure of k-means;
    the README has the table. Give labels of the task, or leave the texts out.

    Files hold the choice and its report, so that `partial_fit` goes on with what was chosen.

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
    _dropped_parameters: ClassVar[frozenset[str]] = frozenset({"encoder"})
    corrector_: AffineCorrector | None
    chosen_: str
    reason_: str
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
        X : array of shape (n, d), or anything that `isotropy.rows.as_rows` takes
            Embeddings.
        y : ignored
            For scikit-learn's sake.
        sample_weight : array of shape (n,), optional
            For the moments; criteria do not know weights.
        texts : sequence of n str, optional
            The texts of the rows. They are not kept.
        views : array of shape (n, d), optional
            Other embeddings of the same texts; for ``criterion="views"``.
        classes : array of shape (n,), optional
            Of at least two kinds.
        pairs : int array of shape (m, 2), optional
            Row numbers of `X`.
        pair_scores : array of shape (m,), optional
            How alike the two rows of a pair are, on any scale.
        queries : array of shape (q, d) or Moments, optional
            As in every corrector: see `transform_queries`. With `relevant`, rows.
        relevant : sequence of q collections of row numbers, or dicts of grades, optional
            For each query the rows that answer it.

        Returns
        -------
        self : AutoCorrector
            Fitted.

        Raises
        ------
        ValueError
            If a row holds NaN or infinity, a parameter is out of range, or what is passed does not
            fit together.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import AutoCorrector
        >>> X = np.random.default_rng(0).normal(size=(100, 8)) * [9, 3, 1, 1, 1, 1, 1, 1]
        >>> auto = AutoCorrector().fit(X, classes=X[:, 5] > 0)
        >>> auto.report_.criterion
        'leave-one-out accuracy of ten nearest neighbours'
        """
        self._check_parameters()
        given = Given(texts, views, classes, pairs, pair_scores, queries, relevant)
        with self._new_fit(queries) as new:
            rows = new._check_rows(X, reset=True)
            given.checked(rows.shape)
            labels = given.labels(len(rows), new.random_state)
            moments = new._new_moments().update(rows, sample_weight)
            if not moments.total_weight > 0:
                raise ValueError("Every weight is zero (0 samples count); at least 1 must not be.")
            new._take(new._decided(rows, moments, given, labels))
            new._finish(moments)
        return self

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Bring in more rows.

        What was chosen by texts, views or labels stays chosen, also after loading from a file: its
        map follows the new moments. What was chosen from the embeddings alone is chosen again.

        Parameters
        ----------
        X : array of shape (n, d)
            More embeddings.
        y : ignored
            For scikit-learn's sake.
        sample_weight : array of shape (n,), optional
            Their weights.

        Returns
        -------
        self : AutoCorrector
            With the map of all rows so far.

        Raises
        ------
        ValueError
            If a row holds NaN or infinity, or this corrector was loaded without its moments.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import AutoCorrector
        >>> X = np.random.default_rng(0).normal(size=(400, 16))
        >>> AutoCorrector().fit(X).partial_fit(X + 9).chosen_
        'TaperedWhitening(power=0.5)'
        """
        return super().partial_fit(X, None, sample_weight)

    def fit_moments(self, moments: Moments, *, queries: Any = None) -> Self:
        """Choose from `Moments` alone, by the mean cosine.

        Parameters
        ----------
        moments : Moments
            Gathered with ``unit="sums"``.
        queries : array of shape (q, d) or Moments, optional
            As for `fit`.

        Returns
        -------
        self : AutoCorrector
            Fitted.

        Raises
        ------
        ValueError
            If the moments lack the sums of the unit rows, or were gathered otherwise than this
            corrector normalizes.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import AutoCorrector, Moments
        >>> X = np.random.default_rng(0).normal(size=(400, 16))
        >>> AutoCorrector().fit_moments(Moments(unit="sums").update(X + 3)).chosen_
        'TaperedWhitening(power=1.0)'
        """
        self._check_parameters()
        return super().fit_moments(moments, queries=queries)

    def _check_parameters(self) -> None:
        check_normalize(self.normalize)
        if self.criterion not in ("overlap", "views"):
            raise ValueError(f"criterion must be 'overlap' or 'views', got {self.criterion!r}.")
        if isinstance(self.tolerance, bool | str) or not self.tolerance >= 0:
            raise ValueError(f"tolerance must be a number of at least 0, got {self.tolerance!r}.")
        check_candidates(self.candidates, self.normalize)

    # -- choosing ----------------------------------------------------------------------------

    def _options(self, n_features: int, *, labelled: bool) -> list[Candidate]:
        return candidates(
            self.candidates,
            n_components=self.n_components,
            normalize=self.normalize,
            n_features=n_features,
            labelled=labelled,
        )

    def _decided(
        self, rows: Rows, moments: Moments, given: Given, labels: Evidence | None
    ) -> Decision:
        """By what was given, else by the mean cosine."""
        free, note = self._label_free(given, len(rows))
        if labels is None and free is None:
            return self._by_mean_cosine(moments, note)
        options = fitted(self._options(moments.n_features, labelled=labels is not None), moments)
        said = None if labels is None else self._judged(rows, options, labels)
        agreed = None
        try:
            agreed = None if free is None else self._judged(rows, options, free)
        except SaysNothingError as nothing:
            note = str(nothing)
        return by_evidence(options, said, agreed, note) or self._by_mean_cosine(moments, note)

    def _label_free(self, given: Given, n: int) -> tuple[Evidence | None, str]:
        try:
            return given.label_free(n, self.random_state, self.criterion, self.encoder), ""
        except SaysNothingError as nothing:
            return None, str(nothing)

    def _judged(self, rows: Rows, options: list[Candidate], evidence: Evidence) -> Verdict:
        seen = rows.take(evidence.rows).astype(np.float64)
        return evidence.judge(options, seen, self.tolerance)

    def _by_mean_cosine(self, moments: Moments, note: str = "") -> Decision:
        options = self._options(moments.n_features, labelled=False)
        cosine = float(mean_cosine(moments))
        return by_mean_cosine(options, cosine, own=self.candidates is not None, note=note)

    def _bring_in(self, X: Any, sample_weight: Any, moments: Moments, *, reset: bool) -> None:
        if hasattr(self, "report_") and self.report_.criterion == SPECTRUM:
            del self.report_  # to be chosen again
        super()._bring_in(X, sample_weight, moments, reset=reset)

    def _take(self, decision: Decision) -> None:
        self.corrector_ = None
        if decision.option.name != "none":
            self.corrector_ = decision.option.corrector
        self.chosen_, self.report_ = decision.option.name, decision.report
        self.reason_ = decision.report.reason

    def _solve(self, moments: Moments) -> AffineMap:
        if not hasattr(self, "report_"):
            self._take(self._by_mean_cosine(moments))
        if self.corrector_ is None:
            return untouched(self.n_components, self.normalize).fit_moments(moments).affine_map_
        self.corrector_ = clone(self.corrector_).fit_moments(moments)
        return self.corrector_.affine_map_

    def _moments_order(self) -> Any:
        return max([2, *(one._moments_order() for one in self.candidates or ())])

    def _new_moments(self) -> Moments:
        return Moments(
            unit="sums",
            order=self._moments_order(),
            normalize=self.normalize in ("before", "both"),
        )

    # -- queries -----------------------------------------------------------------------------

    @property
    def _removes_mean(self) -> bool:
        return self.corrector_ is not None and bool(self.corrector_._removes_mean)

    def _move(self, mean: np.ndarray) -> None:
        assert self.corrector_ is not None
        self.corrector_ = copy.copy(self.corrector_)
        self.corrector_._move(mean)
        self.corrector_.mean_ = mean
        self.affine_map_ = self.corrector_.affine_map_

    # -- files -------------------------------------------------------------------------------

    def _map_state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        info, arrays = super()._map_state()
        info |= {"report": asdict(self.report_), "chosen": None}
        if self.corrector_ is not None:
            info["chosen"], chosen = self.corrector_._state()
            arrays |= {f"{_CHOSEN}{name}": array for name, array in chosen.items()}
        return info, arrays

    def _restore_map(self, path: Any, info: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        chosen = {name: array for name, array in arrays.items() if name.startswith(_CHOSEN)}
        rest = {name: array for name, array in arrays.items() if name not in chosen}
        super()._restore_map(path, info, rest)
        self.report_ = AutoReport(**info["report"])
        self.corrector_ = None
        if info["chosen"] is not None:
            own = {name.removeprefix(_CHOSEN): array for name, array in chosen.items()}
            found = Corrector._from_state(path, info["chosen"], own)
            assert isinstance(found, AffineCorrector)
            self.corrector_ = found
