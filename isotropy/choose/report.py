"""What was looked at, and what it said."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from html import escape
from typing import Any, Self

__all__ = ["AutoReport", "Risk"]


@dataclass(frozen=True)
class Risk:
    """How often a choice did harm where it was measured.

    Parameters
    ----------
    cells : int
        In how many cases (a task, texts and an encoder) of this kind; 0 where in none.
    hurt : int
        Those of them that lost over half a point against the rows left alone.
    worst : float
        The greatest loss, in points of 100.

    Examples
    --------
    >>> Risk(cells=64, hurt=0, worst=0.4).hurt
    0
    """

    cells: int
    hurt: int
    worst: float

    def __str__(self) -> str:
        return (
            f"In {self.hurt} of {self.cells} cases measured it lost over half a point of 100; the "
            f"worst lost {self.worst:.1f}."
        )


@dataclass(frozen=True)
class AutoReport:
    """What `AutoCorrector` looked at, and why it chose what it chose.

    Parameters
    ----------
    task : str or None
        What the choice is for.
    criterion : str
        What it was made by: "neighbours kept", or a figure of the labels.
    reason : str
        The choice in a sentence or two.
    evidence : dict
        What was looked at, name to figure; None for what could not be known.
    risk : Risk
        How often the choice did harm in such cases.
    sure : bool
        False where the evidence is missing or undecided; the choice is then none, or the milder.
    candidates : list of dict
        No correction first: "corrector", "setting" (its name in the record, or None), "chosen";
        "value", "difference" (to no correction), "low" and "high" (95 % interval of the
        difference) where labels judged, else None.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import AutoCorrector
    >>> X = np.random.default_rng(0).normal(size=(400, 64))
    >>> report = AutoCorrector("similarity").fit(X).report_
    >>> report.task, report.criterion, report.sure, report.candidates[0]["chosen"]
    ('similarity', 'neighbours kept', True, True)
    """

    task: str | None
    criterion: str
    reason: str
    evidence: dict[str, Any]
    risk: Risk
    sure: bool
    candidates: list[dict[str, Any]]

    def __str__(self) -> str:
        known = {name: value for name, value in self.evidence.items() if value is not None}
        told = ", ".join(f"{name} {_short(value)}" for name, value in known.items())
        lines = [self.reason, "", f"Criterion: {self.criterion}."]
        lines += [f"Looked at: {told}."] if told else []
        lines += [str(self.risk)] if self.risk.cells else []
        lines += [] if self.sure else ["This choice is not sure."]
        for entry in self.candidates:
            mark = ">" if entry["chosen"] else " "
            if entry["value"] is None:
                lines.append(f"{mark} {entry['corrector']}")
                continue
            low, high = entry["low"], entry["high"]
            lines.append(
                f"{mark} {entry['corrector']:<44} {entry['value']:8.4f}  "
                f"{entry['difference']:+.4f} ({low:+.4f} to {high:+.4f})"
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"

    def plain(self) -> dict[str, Any]:
        """As JSON knows it; `revived` is the way back.

        Returns
        -------
        dict

        Examples
        --------
        >>> report = AutoReport(None, "neighbours kept", "None.", {}, Risk(0, 0, 0.0), False, [])
        >>> AutoReport.revived(report.plain()) == report
        True
        """
        return asdict(self)

    @classmethod
    def revived(cls, plain: dict[str, Any]) -> Self:
        """What `plain` made plain.

        Parameters
        ----------
        plain : dict

        Returns
        -------
        AutoReport

        Examples
        --------
        >>> report = AutoReport(None, "neighbours kept", "None.", {}, Risk(0, 0, 0.0), False, [])
        >>> AutoReport.revived(report.plain()).risk
        Risk(cells=0, hurt=0, worst=0.0)
        """
        return cls(**{**plain, "risk": Risk(**plain["risk"])})


def _short(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
