"""The page: HTML with its style and script inside."""

from __future__ import annotations

import html
import json
from importlib.resources import files
from math import isnan
from string import Template
from typing import Any

from isotropy._render import number
from isotropy.metrics import METRICS
from isotropy.storage.state import library_version

__all__ = ["page"]


def page(report: Any) -> str:
    """The whole page of a `Report`."""
    text = html.escape
    n, d = report.comparison["raw"].shape
    folder = files("isotropy.report")
    data = json.dumps(report.pictures, allow_nan=False, separators=(",", ":"))
    return Template((folder / "page.html").read_text("utf-8")).substitute(
        title=text(report.title),
        caption=f"{n:,} rows, {d:,} dimensions",
        style=(folder / "page.css").read_text("utf-8"),
        script=(folder / "page.js").read_text("utf-8"),
        verdict="".join(f"<p>{text(sentence)}</p>" for sentence in report.verdict),
        drift=_drift(report),
        groups=_groups(report),
        layers=(
            '<figure><figcaption>Mean cosine by layer</figcaption><div id="layers"></div></figure>'
            if "layers" in report.pictures
            else ""
        ),
        table=_scorecard(report),
        left_out=text(" ".join(_remarks(report))),
        hubs=_hubs(report),
        version=text(library_version()),
        # "</script>" inside a text must not end the element.
        data=data.replace("<", "\\u003c"),
    )


def _remarks(report: Any) -> list[str]:
    """What to know when reading the scorecard, each sentence once."""
    cards = report.comparison.scorecards
    said = dict.fromkeys(note for card in cards.values() for note in card.notes)
    left_out = cards["raw"].left_out
    return [*said, *([f"Left out: {', '.join(left_out)}."] if left_out else [])]


def _told(value: float) -> str:
    return "undefined" if isnan(value) else number(value)


def _cells(tag: str, cells: list[str]) -> str:
    return "".join(f"<{tag}>{cell}</{tag}>" for cell in cells)


def _scorecard(report: Any) -> str:
    cards = report.comparison.scorecards
    names = [html.escape(name) for name in cards]
    header = ["metric", names[0], "interval", *names[1:], "floor", "ideal"]
    head = "".join(f'<th scope="col">{cell}</th>' for cell in header)
    body = []
    for name in report.comparison.metrics:
        scores = [card.scores.get(name) for card in cards.values()]
        values = ["" if score is None else _told(score.value) for score in scores]
        sure = report.intervals.get(name)
        between = "" if sure is None else f"{number(sure.low)} to {number(sure.high)}"
        first = next(score for score in scores if score is not None)
        cells = [values[0], between, *values[1:], number(first.floor), number(first.ideal)]
        title = html.escape(METRICS[name].title if name in METRICS else name)
        said = f'<th scope="row" title="{html.escape(name)}">{title}</th>'
        body.append(f"<tr>{said}{_cells('td', cells)}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _hubs(report: Any) -> str:
    found: list[dict[str, Any]] = report.pictures.get("hubs", [])
    if report.hubness is None or not found:
        return ""
    told = [
        [f"{hub['row']:,}", f"{hub['count']:,}", html.escape(hub.get("text", ""))] for hub in found
    ]
    rows = "".join(f"<tr>{_cells('td', cells)}</tr>" for cells in told)
    return (
        '<section aria-labelledby="hubs"><h2 id="hubs">Hubs</h2>'
        f"<p>{html.escape(str(report.hubness))}</p>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Hubs"><table><thead><tr>'
        '<th scope="col">row</th><th scope="col">found by</th>'
        '<th scope="col">text</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _groups(report: Any) -> str:
    """The figures of groups: raw with interval and floor, and after each corrector."""
    if not report.groups:
        return ""
    raw = report.groups["raw"]
    others = {name: dict(gap.figures()) for name, gap in report.groups.items() if name != "raw"}
    header = ["", "raw", "interval", *map(html.escape, others), "by chance"]
    head = "".join(f'<th scope="col">{cell}</th>' for cell in header)
    body = []
    for title, figure in raw.figures():
        between = " to ".join(map(_told, figure.interval))
        after = [_told(figures[title].value) for figures in others.values()]
        cells = [_told(figure.value), between, *after, _told(figure.floor)]
        body.append(f'<tr><th scope="row">{title}</th>{_cells("td", cells)}</tr>')
    return (
        '<section aria-labelledby="groups"><h2 id="groups">Groups</h2>'
        '<div class="scroll" tabindex="0" role="region" aria-label="Groups"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
        f'<p class="note">{raw.n_rows:,} rows in {len(raw.groups):,} groups. By chance: what '
        "groups dealt at random get. Intervals: 95 %, of the raw rows.</p></section>"
    )


def _drift(report: Any) -> str:
    if report.drift is None:
        return ""
    return (
        '<section aria-labelledby="drift"><h2 id="drift">Against the reference</h2>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="Drift">'
        f"{report.drift._repr_html_()}</div></section>"
    )
