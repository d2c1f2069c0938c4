"""A corrector that chooses the correction, none included, and says why."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self

import numpy as np
from sklearn.base import clone

from isotropy.affine import AffineMap, Normalize, check_normalize
from isotropy.choose.candidates import Candidate, candidates, check_candidates, fitted
from isotropy.choose.decision import decide
from isotropy.choose.judge import Verdict, judge
from isotropy.choose.kept import MOST_ROWS, neighbours_kept
from isotropy.choose.labels import Labels, SaysNothingError, labelled
from isotropy.choose.record import TASKS
from isotropy.choose.report import AutoReport
from isotropy.correctors._shrinkage import mean_weight
from isotropy.correctors.base import AffineCorrector, Corrector
from isotropy.metrics import mean_cosine
from isotropy.moments import Moments

__all__ = ["FEW_QUERIES", "KEPT", "AutoCorrector", "doubt"]

FEW_QUERIES = 30
KEPT = "neighbours kept"
_CHOSEN = "chosen."
_SHIFT, _WEIGHT = "shift of the queries", "weight of the queries' mean"
_LEAST_WEIGHT = 0.7  # measured: below it, settings that take off the queries' mean do harm
_WIDTH = 1.96  # of a 95 % interval, in standard errors to either side


class AutoCorrector(AffineCorrector):
    """Choose the correction for a task; leaving embeddings alone is an answer too.

    Without labels it looks at **how many neighbours stay**: of each row's ten nearest neighbours,
    the share that is still there when all directions are made equal (`TaperedWhitening`). Where
    few stay (an inner layer, averages of words, an encoder hardly trained), directions are used
    unevenly, and the task's correction is taken; where most stay, rows are left alone unless they
    lie in a cone (mean cosine of 0.2 or more) and the task gains by a mild one. Which correction
    that is, and how often it did harm, is looked up in what `benchmarks/choose.py` measured. Where
    neighbours cannot be looked at, rows are left alone; near the threshold the side decides, and
    the report says that it is not sure.

    **Labels** (pairs with scores, classes, queries with their relevant rows, or several of these)
    are asked first: the candidate whose gain over no correction, less `tolerance` of its standard
    errors, is the largest and above zero; of several kinds of labels, none may see a loss of over
    half a point in it. Twenty labels of a kind are the least, some 200 are enough; labels that
    agree with the rows no better than when they are shuffled are left out, and the report says so.

    Parameters
    ----------
    task : {"search", "similarity", "clusters", "classes"}, optional
        What the embeddings are for. None is "search" where `fit` is given queries; else only what
        hurt no task is taken, which may be nothing.
    candidates : list of affine correctors, optional
        Unfitted, least correction first; each must follow from moments alone. Clones of them are
        tried, with the `normalize` of this object. By default those of
        `isotropy.choose.settings.SETTINGS`. No correction is always a candidate, and the first.
        Without labels, only what has been measured can be chosen.
    n_components : int, optional
        Keep this many dimensions, whatever is chosen: all default candidates rotate into them.
    tolerance : float, default=1.0
        For labels: how many standard errors a gain must be above zero; at least 0.
    random_state : int, default=0
        Draws the rows that are looked at, and labels where they are many.
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
        What was looked at, how sure the choice is, and how often it did harm.

    Notes
    -----
    One pass, n d^2, and the neighbours of 1,000 rows, which the moments keep as they came: a file
    saved with ``moments=True`` holds them, so mind who may read it. Files hold the choice and its
    report, so that `partial_fit` goes on with what was chosen by labels; what was chosen without is
    chosen again.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import AutoCorrector
    >>> X = np.random.default_rng(0).normal(size=(400, 64))
    >>> AutoCorrector("similarity").fit(X).chosen_
    'none'
    >>> AutoCorrector("similarity").fit(X / np.arange(1, 65) + 3).chosen_
    'TaperedWhitening(power=0.5, mean_strength=0.0)'
    """

    _not_saved = AffineCorrector._not_saved | {"corrector_", "report_"}
    corrector_: AffineCorrector | None
    chosen_: str
    reason_: str
    report_: AutoReport
    query_evidence_: dict[str, float | None]

    def __init__(
        self,
        task: str | None = None,
        *,
        candidates: list[AffineCorrector] | None = None,
        n_components: int | None = None,
        tolerance: float = 1.0,
        random_state: int = 0,
        normalize: Normalize = "none",
    ) -> None:
        self.task = task
        self.candidates = candidates
        self.n_components = n_components
        self.tolerance = tolerance
        self.random_state = random_state
        self.normalize = normalize

    # -- fitting -----------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        queries: Any = None,
        classes: Any = None,
        pairs: Any = None,
        pair_scores: Any = None,
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
        queries : array of shape (q, d) or Moments, optional
            As in every corrector: see `transform_queries`. They are corrected about their own mean,
            and the choice counts on it. Where they are too few to tell their mean (mostly fewer
            than ten), the choice is made as if there were none, and the reason says so. With
            `relevant`, rows.
        classes : array of shape (n,), optional
            Of at least two kinds; None or NaN for a row without a label (-1 is a class as any
            other). They are judged by ten nearest neighbours (3,000 labelled rows at most), with
            ``task="clusters"`` by k-means (1,500 rows at most, labelled ones first).
        pairs : int array of shape (m, 2), optional
            Row numbers of `X`; 5,000 pairs at most are looked at, and none of a row with itself.
        pair_scores : array of shape (m,), optional
            How alike the two rows of a pair are, on any scale: judged by Spearman's correlation. Of
            two values, the larger says alike: judged by average precision.
        relevant : sequence of q collections of row numbers, or dicts of grades, optional
            For each query the rows that answer it; None or empty for one that nobody judged.
            Judged by nDCG@10 among 20,000 rows at most.

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
        with self._new_fit(queries) as new:
            rows = new._check_rows(X, reset=True)
            labels = labelled(
                len(rows),
                task=self.task,
                random_state=self.random_state,
                classes=classes,
                pairs=pairs,
                pair_scores=pair_scores,
                queries=queries,
                relevant=relevant,
            )
            moments = new._new_moments().update(rows, sample_weight)
            if not moments.total_weight > 0:
                raise ValueError("Every weight is zero (0 samples count); at least 1 must not be.")
            note = "" if labels is None else new._ask(rows, moments, labels)
            new._finish(moments)
            if note:
                new.reason_ = f"{new.reason_} {note}"
                new.report_ = replace(new.report_, reason=new.reason_)
        return self

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Bring in more rows.

        What was chosen by labels stays chosen, also after loading from a file: its map follows the
        new moments. What was chosen without is chosen again.

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
        >>> X = np.random.default_rng(0).normal(size=(400, 64)) / np.arange(1, 65)
        >>> AutoCorrector("classes").fit(X[:50]).partial_fit(X[50:]).chosen_
        'TaperedWhitening(power=0.5)'
        """
        return super().partial_fit(X, None, sample_weight)

    def fit_moments(self, moments: Moments, *, queries: Any = None) -> Self:
        """Choose from `Moments`, by the rows that they keep.

        Parameters
        ----------
        moments : Moments
            Gathered with ``unit="sums"`` and ``sample=1000``. Without sampled rows there are no
            neighbours to look at: nothing is corrected, and the report says so.
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
        >>> X = np.random.default_rng(0).normal(size=(400, 64)) / np.arange(1, 65)
        >>> moments = Moments(unit="sums", sample=1000).update(X)
        >>> AutoCorrector("classes").fit_moments(moments).chosen_
        'TaperedWhitening(power=0.5)'
        """
        self._check_parameters()
        return super().fit_moments(moments, queries=queries)

    def _check_parameters(self) -> None:
        check_normalize(self.normalize)
        if self.task is not None and self.task not in TASKS:
            raise ValueError(f"task must be one of {TASKS} or None, got {self.task!r}.")
        if isinstance(self.tolerance, bool | str) or not self.tolerance >= 0:
            raise ValueError(f"tolerance must be a number of at least 0, got {self.tolerance!r}.")
        check_candidates(self.candidates, self.normalize)

    @contextmanager
    def _new_fit(self, queries: Any) -> Iterator[Self]:
        with super()._new_fit(queries) as new:
            new._asked, new.query_evidence_ = queries, {}
            yield new
            del new._asked

    # -- choosing ----------------------------------------------------------------------------

    def _options(self) -> list[Candidate]:
        return candidates(self.candidates, n_components=self.n_components, normalize=self.normalize)

    def _ask(self, rows: Any, moments: Moments, labels: Labels) -> str:
        """Take what labels choose; where they say nothing, take nothing and tell why."""
        options = fitted(self._options(), moments)
        self._look_at_queries(moments)
        try:
            found = judge(options, rows, labels, self.tolerance)
        except SaysNothingError as nothing:
            return str(nothing)
        task, risk = self.task or found.task, found.risk
        table = _table(options, found.pick, found)
        evidence = found.evidence | self.query_evidence_
        report = AutoReport(task, found.name, found.reason, evidence, risk, True, table)
        self._take(options[found.pick], report)
        return ""

    def _by_neighbours(self, moments: Moments) -> tuple[Candidate, AutoReport]:
        """The setting of the record, if it is among the candidates."""
        options = self._options()
        task = self.task or ("search" if self.query_evidence_ else None)
        kept = neighbours_kept(moments.sampled, moments)
        known = [option.setting for option in options if option.setting is not None]
        found = decide(task, kept, self._queries_known, known)
        pick = [option.setting for option in options].index(found.setting)
        evidence = found.evidence | {"mean cosine": finite(mean_cosine(moments))}
        doubted = "" if found.setting == "none" else self._doubt(task)
        reason = f"{found.reason} {doubted}".rstrip()
        table = _table(options, pick)
        return options[pick], AutoReport(
            task, KEPT, reason, evidence | self.query_evidence_, found.risk, found.sure, table
        )

    def _look_at_queries(self, moments: Moments) -> None:
        """How many, how far from the documents, and how much of that is no chance."""
        asked, spread = self.__dict__.get("_asked"), float(np.sqrt(np.trace(moments.covariance(0))))
        if asked is not None:
            self.n_features_in_ = moments.n_features
            asked = self._moments_of(asked)
            weight, mean = mean_weight(asked, moments.mean), asked.mean
            self.query_evidence_ = {"queries": asked.n_rows, _WEIGHT: weight}
        elif self.query_evidence_:  # more rows have come, no more queries
            mean = self.query_mean_
        else:
            return
        shift = float(np.linalg.norm(mean - moments.mean))
        apart = shift / spread if spread > 0 else None
        self.query_evidence_ = self.query_evidence_ | {_SHIFT: apart}

    @property
    def _queries_known(self) -> bool:
        """Whether the queries' mean can be counted on."""
        return (self.query_evidence_.get(_WEIGHT) or 0.0) >= _LEAST_WEIGHT

    def _doubt(self, task: str | None) -> str:
        if task != "search" or not self.query_evidence_ or self._queries_known:
            return ""
        return (
            f"{doubt(self.query_evidence_)} The correction is chosen as if there were no queries."
        )

    def _bring_in(self, X: Any, sample_weight: Any, moments: Moments, *, reset: bool) -> None:
        if hasattr(self, "report_") and self.report_.criterion == KEPT:
            del self.report_  # to be chosen again
        super()._bring_in(X, sample_weight, moments, reset=reset)

    def _take(self, option: Candidate, report: AutoReport) -> None:
        self.corrector_ = None if option.name == "none" else option.corrector
        self.chosen_, self.report_, self.reason_ = option.name, report, report.reason

    def _solve(self, moments: Moments) -> AffineMap:
        self._look_at_queries(moments)
        if not hasattr(self, "report_"):
            self._take(*self._by_neighbours(moments))
        if self.corrector_ is None:
            return self._options()[0].corrector.fit_moments(moments).affine_map_
        self.corrector_ = clone(self.corrector_).fit_moments(moments)
        return self.corrector_.affine_map_

    def _moments_order(self) -> Any:
        return max([2, *(one._moments_order() for one in self.candidates or ())])

    def _new_moments(self) -> Moments:
        return Moments(
            unit="sums",
            order=self._moments_order(),
            normalize=self.normalize in ("before", "both"),
            sample=MOST_ROWS,
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
        info |= {"report": self.report_.plain(), "chosen": None}
        if self.corrector_ is not None:
            info["chosen"], chosen = self.corrector_._state()
            arrays |= {f"{_CHOSEN}{name}": array for name, array in chosen.items()}
        return info, arrays

    def _restore_map(self, path: Any, info: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        chosen = {name: array for name, array in arrays.items() if name.startswith(_CHOSEN)}
        rest = {name: array for name, array in arrays.items() if name not in chosen}
        super()._restore_map(path, info, rest)
        self.report_ = AutoReport.revived(info["report"])
        self.corrector_ = None
        if info["chosen"] is not None:
            own = {name.removeprefix(_CHOSEN): array for name, array in chosen.items()}
            found = Corrector._from_state(path, info["chosen"], own)
            assert isinstance(found, AffineCorrector)
            self.corrector_ = found


def doubt(evidence: dict[str, Any]) -> str:
    """Why the mean of the queries cannot be counted on."""
    n = evidence["queries"]
    if n == 1:
        return "The mean of queries cannot be told from one query."
    if n < FEW_QUERIES:
        return f"{n} queries are too few to tell their mean from that of the rows."
    return f"The mean of the {n:,} queries is hardly another than that of the rows."


def finite(value: float | None) -> float | None:
    """As a number of Python's; None where it is not known."""
    return float(value) if value is not None and np.isfinite(value) else None


def _table(
    options: Sequence[Candidate], pick: int, verdict: Verdict | None = None
) -> list[dict[str, Any]]:
    """A row a candidate, with what labels say of it."""
    told = [dict.fromkeys(("value", "difference", "low", "high"))] * len(options)
    if verdict is not None:
        told = [
            {
                "value": float(value),
                "difference": float(value - verdict.values[0]),
                "low": float(value - verdict.values[0] - _WIDTH * error),
                "high": float(value - verdict.values[0] + _WIDTH * error),
            }
            for value, error in zip(verdict.values, verdict.errors, strict=True)
        ]
    return [
        {"corrector": option.name, "setting": option.setting, **more, "chosen": place == pick}
        for place, (option, more) in enumerate(zip(options, told, strict=True))
    ]
