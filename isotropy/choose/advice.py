"""What is wrong with embeddings, if anything, and what to do about it for which task."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

import numpy as np

from isotropy._render import text_table
from isotropy.choose.auto import FEW_QUERIES, KEPT, AutoCorrector, doubt, finite
from isotropy.choose.decision import decide, side_of
from isotropy.choose.kept import LEAST_ROWS, Kept, neighbours_kept
from isotropy.choose.labels import LEAST as LEAST_LABELS
from isotropy.choose.record import CONE, ROWS, TASKS, THRESHOLDS, Measured
from isotropy.choose.report import Risk
from isotropy.choose.settings import SETTINGS
from isotropy.metrics import effective_rank, mean_cosine
from isotropy.metrics.registry import METRICS
from isotropy.moments import Moments
from isotropy.rows import BadRowError, Rows, as_rows
from isotropy.rows.arrays import to_numpy
from isotropy.rows.sample import Sample

__all__ = ["Advice", "Choice", "advise"]

_LABELLED = {"relevant": "search", "pairs": "similarity", "classes": "classes"}

_REPEATED = 0.1  # three standard errors of what is known of many rows
_FAR = 2.0  # spreads of the documents between the means, beyond what another kind of text does
_LEGEND = """\
Gains and losses are in points of 100 (accuracy, nDCG@10, V-measure or a correlation, times 100)
against the rows left as they are. They were measured before, on other texts: a case is one task,
one collection of texts and one encoder. A case is hurt where it loses over half a point; beyond
noise, where the loss is also over two standard errors. Choice: of the corrections that hurt at most
a tenth of the cases (2 % beyond noise) and none by over 4 points, and gain half a point or more, at
least half of what the best of these gains, the one that loses least.
none: left as it is. centred: the mean removed. power p: TaperedWhitening(p). origin p:
Whitening(power=p, mean_strength=0), which removes no mean. origin tapered p:
TaperedWhitening(p, mean_strength=0). plain 1: Whitening()."""


@dataclass(frozen=True)
class Choice:
    """The correction for a task, how sure it is, and what it was compared with.

    Parameters
    ----------
    task : str or None
        None for whatever the task.
    setting : str
        Its name in `isotropy.choose.settings.SETTINGS`.
    criterion : str
        What it was chosen by: "neighbours kept", or a figure of the labels.
    reason : str
        In a sentence or two.
    sure : bool
        False where what the rows need cannot be told.
    risk : Risk
        How often the choice did harm in such cases.
    gain : float or None
        Its mean gain there, in points of 100; None where it was judged by labels or not measured.
    compared : list of dict
        All that was compared, each with "setting" and "chosen", and with what was measured of it
        ("cells", "hurt", "beyond", "worst", "gain") or what labels say ("value", "difference",
        "low", "high").
    labelled : bool, default=False
        Whether labels were asked, whatever they said.

    Examples
    --------
    >>> Choice("classes", "none", "labels", "Too few.", False, Risk(0, 0, 0.0), None).sure
    False
    """

    task: str | None
    setting: str
    criterion: str
    reason: str
    sure: bool
    risk: Risk
    gain: float | None
    compared: list[dict[str, Any]] = field(default_factory=list)
    labelled: bool = False

    @property
    def by_labels(self) -> bool:
        """Whether labels judged."""
        return self.labelled and self.criterion != KEPT


@dataclass(frozen=True)
class Advice:
    """What `advise` found; `print` shows it.

    Parameters
    ----------
    figures : dict
        What was looked at, name to figure; None for what could not be known.
    findings : list of str
        The same in words.
    choices : list of Choice
        One for each task asked for; with none asked for, last the one that suits all of them.
    corrector : AutoCorrector
        Fitted: of the task asked for or labelled; else of search where there are queries, else of
        no task.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import advise
    >>> X = np.random.default_rng(0).normal(size=(400, 64)) / np.arange(1, 65) + 3
    >>> found = advise(X, task="similarity")
    >>> found.choices[0].setting, found.corrector.chosen_
    ('origin tapered .5', 'TaperedWhitening(power=0.5, mean_strength=0.0)')
    """

    figures: dict[str, Any]
    findings: list[str]
    choices: list[Choice]
    corrector: AutoCorrector = field(repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The same facts as JSON knows them.

        Returns
        -------
        dict
            "figures", "findings", "choices".

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import advise
        >>> found = advise(np.random.default_rng(0).normal(size=(200, 16)), task="clusters")
        >>> found.to_dict()["choices"][0]["setting"]
        'none'
        """
        told = [{**vars(one), "risk": vars(one.risk)} for one in self.choices]
        return {"figures": self.figures, "findings": self.findings, "choices": told}

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"

    def _lines(self) -> Iterable[str]:
        yield "What these rows show"
        yield from (f"- {finding}" for finding in self.findings)
        yield ""
        yield "What to do"
        yield _table_of_choices(self.choices)
        unsure = [one for one in self.choices if not one.sure]
        if unsure:
            yield ""
            why = dict.fromkeys(one.reason.partition(": ")[2] for one in unsure)
            enough = self.figures["rows looked at"] >= LEAST_LABELS
            way_out = " Labels would tell: pairs, classes or relevant rows." if enough else ""
            yield f"Not sure: {' '.join(why)}{way_out}"
        for one in self.choices:
            if one.labelled:
                yield ""
                yield f"{_called(one.task).capitalize()}: {one.reason}"
        told = [one for one in self.choices if one.compared]
        for one in told if len(told) == 1 else [one for one in told if one.by_labels]:
            yield ""
            yield _title(one)
            yield _labelled(one) if one.by_labels else _measured(one)
        measured = [one for one in told if not one.by_labels and one.task is not None]
        if len(told) > 1 and measured:
            yield ""
            yield "Compared with: mean gain in points of 100 (cases hurt); > is the choice"
            yield _overview(measured)
        if any(not one.by_labels for one in told):
            yield ""
            yield _LEGEND


def advise(
    X: Any,
    *,
    queries: Any = None,
    task: str | None = None,
    n_components: int | None = None,
    random_state: int = 0,
    **labels: Any,
) -> Advice:
    """Say what is wrong with embeddings, if anything, and which correction suits which task.

    All tasks are answered from one look at the rows.

    Parameters
    ----------
    X : array of shape (n, d), anything that `isotropy.rows.as_rows` takes, or Moments
        Embeddings. Of Moments gathered without ``sample=1000`` less can be known.
    queries : array of shape (q, d), optional
        Embeddings of queries such as will be asked; they are corrected about their own mean.
    task : {"search", "similarity", "clusters", "classes"}, optional
        Answer for this one alone.
    n_components : int, optional
        Keep this many dimensions.
    random_state : int, default=0
        Draws the rows that are looked at.
    **labels : object
        Labels, as `AutoCorrector.fit` takes them; they judge the task that they are of.

    Returns
    -------
    Advice

    Raises
    ------
    ValueError
        If a row holds NaN or infinity (the message says how many do), queries are of another
        width, or labels do not fit.

    Notes
    -----
    One pass over the rows, n d^2 + O(d^3), and the neighbours of 1,000 of them.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import advise
    >>> X = np.random.default_rng(0).normal(size=(400, 64))
    >>> found = advise(X, task="similarity")
    >>> found.choices[0].setting, found.choices[0].sure
    ('none', True)
    """
    labels = {name: given for name, given in labels.items() if given is not None}
    kinds = {_LABELLED[name] for name in labels if name in _LABELLED}
    judged = task or (kinds.pop() if len(kinds) == 1 else None)
    auto = AutoCorrector(judged, n_components=n_components, random_state=random_state)
    auto._check_parameters()
    if isinstance(X, Moments):
        if labels:
            raise ValueError(f"{' and '.join(labels)} are of rows, but X holds moments alone.")
        auto.fit_moments(X, queries=queries)
    else:
        _learn(auto, as_rows(X), queries, labels)
    moments = auto.moments_
    assert moments is not None
    kept = neighbours_kept(moments.sampled, moments)
    figures = _figures(moments, kept) | auto.query_evidence_
    wanted = (*TASKS, None) if task is None else (task,)
    choices = [_choice(one, kept, auto._queries_known) for one in wanted]
    if labels:
        choices = [_by_labels(auto, one) if one.task == judged else one for one in choices]
    findings = list(_findings(figures, kept, auto._queries_known))
    return Advice(figures, findings, choices, auto)


# -- looking ---------------------------------------------------------------------------------------


def _learn(auto: AutoCorrector, rows: Rows, queries: Any, labels: dict[str, Any]) -> None:
    """Fit in one pass, or say how many rows are bad."""
    _same_width(rows, queries)
    try:
        auto.fit(rows, queries=queries, **labels)
    except BadRowError as error:
        raise _counted(rows, error) from None


def _same_width(rows: Rows, queries: Any) -> None:
    if queries is None or isinstance(queries, Moments):
        return
    asked = as_rows(queries, name="queries").shape[1]
    if asked != rows.shape[1]:
        raise ValueError(
            f"queries have {asked} columns, the rows {rows.shape[1]}: they are not in one space; "
            "embed both with the same encoder."
        )


def _counted(rows: Rows, error: BadRowError) -> ValueError:
    """The same error, with how many rows are bad."""
    bad = sum(int((~np.isfinite(to_numpy(block)).all(1)).sum()) for block in rows.blocks())
    return ValueError(f"{error} So do {bad} of {len(rows):,} rows ({100 * bad / len(rows):.1f} %).")


def _figures(moments: Moments, kept: Kept) -> dict[str, Any]:
    n, d = moments.n_rows, moments.n_features
    floor = METRICS["effective_rank"].floor
    return {
        "rows": n,
        "columns": d,
        "mean cosine": finite(mean_cosine(moments)),
        "neighbours kept": None if kept.why_not else kept.value,
        "rows looked at": kept.rows,
        "effective rank": finite(effective_rank(moments)),
        "effective rank of even rows": finite(floor(n, d)) if floor else None,
        "zero rows": moments.n_zero_rows,
        "repeated rows": _repeated(moments),
    }


def _repeated(moments: Moments) -> float | None:
    """The share of rows that came before: exact where few rows differ, else to some 3 %."""
    if moments.sampled is None or not moments.n_rows:
        return None
    different = Sample.of(moments.sample, moments.sampled).n_different
    return max(0.0, 1 - different / moments.n_rows)


# -- in words --------------------------------------------------------------------------------------


def _findings(figures: dict[str, Any], kept: Kept, known: bool) -> Iterable[str]:
    yield from _broken(figures)
    if figures["rows"] > 1:
        yield _cone(figures["mean cosine"])
    yield _directions(kept)
    if figures["effective rank"] is not None and not kept.why_not:
        yield (
            f"Their variance is as if spread evenly over {figures['effective rank']:.0f} of the "
            f"{figures['columns']} directions; random rows, as many, would reach "
            f"{figures['effective rank of even rows'] or figures['columns']:.0f}."
        )
    if "queries" in figures:
        yield from _asked_elsewhere(figures, known)


def _broken(figures: dict[str, Any]) -> Iterable[str]:
    n = figures["rows"]
    if n < LEAST_ROWS:
        yield f"Broken: too few rows ({n}) to tell what they need; {LEAST_ROWS} are the least."
    if figures["zero rows"]:
        zero = figures["zero rows"]
        yield (
            f"Broken: {zero:,} rows ({100 * zero / n:.1f} %) are zero and have no direction: texts "
            "that were empty, or failed?"
        )
    if (figures["repeated rows"] or 0) > _REPEATED:
        yield (
            f"Broken: {100 * figures['repeated rows']:.0f} % of the rows repeat another one: the "
            "same text many times?"
        )


def _cone(cosine: float | None) -> str:
    if cosine is None:
        return "The mean cosine of two rows cannot be known."
    told = f"the mean cosine of two rows is {cosine:.2f}; it is 0 for rows that point everywhere"
    if cosine >= CONE:
        return f"They lie in a cone: {told}."
    return f"They lie in no cone to speak of: {told}."


def _directions(kept: Kept) -> str:
    if kept.why_not:
        return f"How evenly they use their directions cannot be known: {kept.why_not}."
    near = any(side_of(task, kept)[1] for task in THRESHOLDS)
    low, high = min(THRESHOLDS.values()), max(THRESHOLDS.values())
    told = (
        f"{100 * kept.value:.0f} % of the ten nearest neighbours stay when all directions are made "
        f"equal ({kept.rows:,} rows were looked at)"
    )
    if kept.value >= high and not near:
        return (
            f"They use their directions evenly: {told}. Most trained encoders keep "
            f"{100 * high:.0f} % or more."
        )
    if kept.value < low and not near:
        return (
            f"They use their directions unevenly: {told}. Inner layers and averages of word "
            f"vectors mostly keep less than {100 * low:.0f} %."
        )
    return (
        f"Whether they use their directions evenly is not sure: {told}. The line between trained "
        f"encoders and inner layers is at about {100 * low:.0f} %."
    )


def _asked_elsewhere(figures: dict[str, Any], known: bool) -> Iterable[str]:
    shift, n = figures["shift of the queries"], figures["queries"]
    weight = figures["weight of the queries' mean"]
    if shift is None:
        return
    where = "lie apart from" if shift >= 0.3 else "lie a little apart from"
    if shift < 0.1:
        where = "lie about where"
    told = f"The queries {where} the rows{' do' if shift < 0.1 else ''}"
    yield (
        f"{told}: the distance of their mean from that of the rows is {shift:.2f} times the spread "
        "of the rows. They are corrected about their own mean."
        if known
        else f"{doubt(figures)} Search is advised as if there were no queries."
        + (f" Give {FEW_QUERIES} or more." if n < FEW_QUERIES else "")
    )
    if known and weight < 1 and n < FEW_QUERIES:
        yield (
            f"{n} queries are few: {100 * weight:.0f} % of that "
            f"distance is corrected, the rest may be chance. Give {FEW_QUERIES} or more."
        )
    if known and shift > _FAR:
        yield (
            "Broken: so far apart, queries and rows may come from different encoders, layers or "
            "prompts."
        )


# -- choosing --------------------------------------------------------------------------------------


def _choice(task: str | None, kept: Kept, own: bool) -> Choice:
    found = decide(task, kept, own)
    rows = [] if kept.why_not else list(_rows_of(task, side_of(task, kept)[0], own))
    compared = [
        {**dict(zip(row._fields[4:], row[4:], strict=True)), "setting": row.setting, "own": row.own}
        for row in rows
    ]
    for one in compared:
        one["chosen"] = one["setting"] == found.setting
    gain = next((row.gain for row in rows if row.setting == found.setting), None)
    return Choice(task, found.setting, KEPT, found.reason, found.sure, found.risk, gain, compared)


def _rows_of(task: str | None, side: str, own: bool) -> Iterable[Measured]:
    """What was measured of each setting, from mild to strong."""
    found = (
        row
        for row in ROWS
        if (row.task, row.side) == (task, side)
        and row.own == (own and task == "search" and row.setting != "none")
    )
    order = list(SETTINGS)
    return sorted(found, key=lambda row: order.index(row.setting))


def _by_labels(auto: AutoCorrector, other: Choice) -> Choice:
    report = auto.report_
    if report.criterion == KEPT:  # the labels said nothing, and the reason tells why
        return replace(other, reason=report.reason, labelled=True)
    chosen = next(one for one in report.candidates if one["chosen"])
    return Choice(
        other.task,
        chosen["setting"] or "none",
        report.criterion,
        report.reason,
        report.sure,
        report.risk,
        None,
        [dict(one) for one in report.candidates],
        labelled=True,
    )


# -- tables ----------------------------------------------------------------------------------------


def _called(task: str | None) -> str:
    return "any of them" if task is None else task


def _table_of_choices(choices: list[Choice]) -> str:
    lines = []
    for one in choices:
        risk, known = one.risk, one.risk.cells > 0 and not one.by_labels
        lines.append(
            [
                _called(one.task),
                "leave as it is" if one.setting == "none" else one.setting,
                "" if one.gain is None or one.by_labels else f"{one.gain:+.1f}",
                f"{risk.hurt} of {risk.cells}" if known else "",
                f"{-risk.worst + 0.0:.1f}" if known else "",
                "by labels" if one.by_labels else "yes" if one.sure else "not sure",
            ]
        )
    heads = ["for", "correction", "mean gain", "cases hurt", "worst", "sure?"]
    return text_table(heads, lines)


def _title(one: Choice) -> str:
    if one.by_labels:
        return f"{_called(one.task).capitalize()}, compared with, by the labels"
    return (
        f"{_called(one.task).capitalize()}, compared with, in points of 100 against no correction, "
        "in cases of this kind"
    )


def _labelled(one: Choice) -> str:
    lines = [
        [
            f"{'>' if row['chosen'] else ' '} {row['setting'] or row['corrector']}",
            f"{row['value']:.4f}",
            f"{row['difference']:+.4f}",
            f"{row['low']:+.4f} to {row['high']:+.4f}",
        ]
        for row in one.compared
    ]
    return text_table(["  correction", "value", "difference", "95 % interval"], lines)


def _measured(one: Choice) -> str:
    lines = [
        [
            f"{'>' if row['chosen'] else ' '} {row['setting']}",
            f"{row['gain']:+.1f}",
            f"{row['hurt']} of {row['cells']}",
            f"{row['beyond']}",
            f"{-row['worst'] + 0.0:.1f}",
        ]
        for row in one.compared
    ]
    heads = ["  correction", "mean gain", "cases hurt", "beyond noise", "worst"]
    return text_table(heads, lines)


def _overview(choices: list[Choice]) -> str:
    by_task = [{row["setting"]: row for row in one.compared} for one in choices]
    settings = dict.fromkeys(row["setting"] for one in choices for row in one.compared)
    lines = [[name, *(_cell(rows.get(name)) for rows in by_task)] for name in settings]
    return text_table(["correction", *(_called(one.task) for one in choices)], lines)


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    return f"{'> ' if row['chosen'] else ''}{row['gain']:+.1f} ({row['hurt']}/{row['cells']})"
