"""From how many neighbours stay to a setting, none whenever unsure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from isotropy.choose.kept import Kept
from isotropy.choose.record import CONE, EVEN, SOUND, THRESHOLDS, UNEVEN, chosen, row_of
from isotropy.choose.report import Risk
from isotropy.choose.settings import SETTINGS, named

__all__ = ["MARGIN", "Decision", "decide", "side_of"]

MARGIN = 0.03  # so near to the threshold the side is not known


@dataclass(frozen=True)
class Decision:
    """What is taken, and why.

    Parameters
    ----------
    setting : str
        A name of `SETTINGS`.
    reason : str
        In a sentence or two.
    evidence : dict
        What was looked at: name to figure.
    risk : Risk
    sure : bool
        False where the evidence is missing or too near to the threshold.
    """

    setting: str
    reason: str
    evidence: dict[str, Any]
    risk: Risk
    sure: bool


def decide(
    task: str | None,
    kept: Kept,
    queries_known: bool = False,
    among: Collection[str] | None = None,
) -> Decision:
    """The setting that the record has for such rows, or none.

    Parameters
    ----------
    task : {"search", "similarity", "clusters", "classes"} or None
    kept : Kept
    queries_known : bool, default=False
        Whether queries are corrected about their own mean.
    among : collection of names, optional
        The settings that may be taken; by default all of `SETTINGS`.

    Returns
    -------
    Decision

    Examples
    --------
    >>> decide("search", Kept(0.6, 1000), queries_known=True).setting
    'power .75'
    >>> decide("search", Kept(float("nan"), 40, "40 rows are too few")).setting
    'none'
    """
    known = not kept.why_not
    evidence = {"neighbours kept": kept.value if known else None, "rows looked at": kept.rows}
    if not known:
        reason = f"No correction: {kept.why_not}, so what they need cannot be told."
        return Decision("none", reason, evidence, Risk(0, 0, 0.0), sure=False)
    side, near = side_of(task, kept)
    allowed = SETTINGS.keys() if among is None else {"none", *among}
    setting = chosen(task, side, queries_known, allowed)
    row = row_of(task, side, queries_known, setting)
    risk = Risk(0, 0, 0.0) if row is None else Risk(row.cells, row.hurt, row.worst)
    return Decision(setting, _told(kept.value, setting, side, near), evidence, risk, not near)


def side_of(task: str | None, kept: Kept) -> tuple[str, bool]:
    """On which side of the threshold rows lie, and whether so near to it that it is not sure.

    Even rows in no cone are a side of their own: they have nothing to mend, and little gains.
    The side decides there too: to count such rows as even spared no cell of the bench any harm.

    Parameters
    ----------
    task : str or None
    kept : Kept
        Of which the value is known.

    Returns
    -------
    side : str
        Of `isotropy.choose.record.SIDES`.
    near : bool

    Examples
    --------
    >>> side_of("classes", Kept(0.6, 1000)), side_of("classes", Kept(0.72, 1000, cosine=0.1))
    (('uneven', False), ('even, no cone', True))
    """
    gap = kept.value - THRESHOLDS[task]
    even = EVEN if kept.cosine >= CONE else SOUND
    return even if gap >= 0 else UNEVEN, abs(gap) < MARGIN


def _told(value: float, setting: str, side: str, near: bool) -> str:
    what = "No correction" if setting == "none" else named(SETTINGS[setting]())
    use = "unevenly" if side == UNEVEN else "evenly"
    use += ", and lie in no cone" if side == SOUND else ""
    if near:
        use = "neither evenly nor unevenly enough to be sure"
    return (
        f"{what}: {100 * value:.0f} % of the nearest neighbours stay when all directions "
        f"are made equal, so the rows use their directions {use}."
    )
