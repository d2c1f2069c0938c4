"""Tables of text cells as plain text, Markdown and HTML."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence

__all__ = ["html_table", "markdown_table", "number", "text_table"]

Rows = Sequence[Sequence[str]]


def number(value: float | None) -> str:
    """Four significant digits; nothing for None."""
    return "" if value is None else f"{value + 0.0:.4g}"


def text_table(header: Sequence[str], rows: Rows, *, width: int = 12) -> str:
    """Aligned columns, the first to the left; long headings are broken over lines."""
    heads = [textwrap.wrap(cell, width) or [""] for cell in header]
    depth = max(map(len, heads))
    lines = [[""] * (depth - len(head)) + head for head in heads]
    columns = [[*lines[k], *(row[k] for row in rows)] for k in range(len(header))]
    widths = [max(map(len, column)) for column in columns]
    out = [
        "  ".join(
            cell.ljust(w) if k == 0 else cell.rjust(w)
            for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in zip(*columns, strict=True)
    ]
    out.insert(depth, "-" * (sum(widths) + 2 * (len(widths) - 1)))
    return "\n".join(out)


def markdown_table(header: Sequence[str], rows: Rows) -> str:
    """A table of GitHub's Markdown, the first column to the left."""
    marks = [":--", *["--:"] * (len(header) - 1)]
    lines = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    lines.insert(1, marks)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def html_table(header: Sequence[str], rows: Rows, *, caption: str) -> str:
    """A table for notebooks."""

    def line(tag: str, cells: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    body = "".join(line("td", row) for row in rows)
    return (
        f"<table><caption>{html.escape(caption)}</caption><thead>{line('th', header)}</thead>"
        f"<tbody>{body}</tbody></table>"
    )
