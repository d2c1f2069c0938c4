"""``isotropy advise``."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from isotropy.cli._correctors import spelled
from isotropy.cli._files import (
    check_suffix,
    read_labels,
    read_pairs,
    read_relevant,
    rows_or_moments,
    stamps,
    writing,
)
from isotropy.cli._options import AsJson, Column, Embeddings, Overwrite
from isotropy.storage.secrets import safe_url

__all__ = ["advise"]


def advise(
    embeddings: Embeddings,
    task: Annotated[
        str | None,
        typer.Option(help="Answer for this one: search, similarity, clusters or classes."),
    ] = None,
    queries: Annotated[
        str | None,
        typer.Option(help="Embeddings of queries: they are corrected about their own mean."),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(help="Judged pairs: .csv or .tsv with two row numbers (from 0) and a score."),
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option(help="Classes of the rows: a text file, one a line, empty for none."),
    ] = None,
    relevant: Annotated[
        Path | None,
        typer.Option(
            help="Which rows answer --queries: .tsv with the numbers (from 0) of a query and a "
            "row, and a grade if there are several; or .jsonl with a list of rows a query."
        ),
    ] = None,
    dimensions: Annotated[int | None, typer.Option(min=1, help="Keep so many.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the corrector here: .safetensors."),
    ] = None,
    column: Column = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """What is wrong with embeddings, if anything, and what to do about it for which task."""
    from isotropy import choose
    from isotropy.scoring.scorecard import to_json

    rows, sources = rows_or_moments(embeddings, column), (embeddings, queries, pairs, classes)
    if output is not None:
        check_suffix(output, ".safetensors")
    plan = ["advise", task, dimensions, column, stamps(*sources, relevant)]
    given = (*sources, relevant)
    with writing(output, plan, *given, overwrite=overwrite) if output else nullcontext():
        asked = None if queries is None else rows_or_moments(queries)
        found = choose.advise(
            rows,
            queries=asked,
            task=task,
            n_components=dimensions,
            **_labels(rows, pairs, classes, relevant, asked),
        )
        if output is not None:
            found.corrector.save(output)
    next_ = _Next(embeddings, column, queries, dimensions, hasattr(rows, "blocks"))
    commands = next_.commands(found, output)
    if as_json:
        more = {"commands": commands, "file": None if output is None else str(output)}
        typer.echo(to_json(found.to_dict() | more, 2))
        return
    typer.echo(str(found))
    if output is not None:
        made = found.corrector
        typer.echo(f"\nWritten to {output}, {_for(made.report_.task)}: {made.chosen_}.")
    typer.echo("\nNext" if commands else "\nNext: nothing to run; use the rows as they are.")
    for command in commands:
        typer.echo(command)


def _for(task: str | None) -> str:
    return "for any task" if task is None else f"for {task}"


def _labels(
    rows: Any, pairs: Path | None, classes: Path | None, relevant: Path | None, queries: Any
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if pairs is not None:
        found["pairs"], found["pair_scores"] = read_pairs(pairs)
    if classes is not None:
        n = rows.shape[0] if hasattr(rows, "shape") else rows.n_rows
        found["classes"] = read_labels(classes, n)  # an empty line is a row without a class
    if relevant is not None:
        if not hasattr(queries, "blocks"):
            raise ValueError(f"{relevant}: --relevant needs --queries, the rows of them.")
        found["relevant"] = read_relevant(relevant, queries.shape[0])
    return found


class _Next:
    """The commands that do what was advised."""

    def __init__(
        self,
        source: str,
        column: str | None,
        queries: str | None,
        dimensions: int | None,
        has_rows: bool = True,
    ) -> None:
        self.has_rows = has_rows
        self.source, self.dimensions = safe_url(source), dimensions
        self.queries = None if queries is None else safe_url(queries)
        self.more = [] if column is None else ["--column", column]

    def commands(self, found: Any, output: Path | None) -> list[str]:
        """To fit and to apply; of several corrections a comment says which is for what."""
        if output is not None:
            idle = found.corrector.chosen_ == "none" and self.dimensions is None
            return [] if idle else self._apply(str(output))
        tasks: dict[str, list[str]] = {}
        for one in found.choices:
            if one.setting != "none" or self.dimensions is not None:
                tasks.setdefault(one.setting, []).append(one.task or "any of them")
        lines = []
        for setting, these in tasks.items():
            if len(found.choices) > 1:
                lines.append(f"# {', '.join(these)}")
            name = "corrector.safetensors" if len(tasks) == 1 else f"{these[0]}.safetensors"
            name = name.replace("any of them", "any")
            lines += [self._fit(setting, name), *self._apply(name)]
        return lines

    def _fit(self, setting: str, name: str) -> str:
        words = ["isotropy", "fit", self.source, *self.more]
        words += ["-c", spelled(_made(setting, self.dimensions))]
        if self.queries is not None:
            words += ["--queries", self.queries]
        return shlex.join([*words, "-o", name])

    def _apply(self, name: str) -> list[str]:
        if not self.has_rows:
            return [f"# then, with the rows: isotropy apply {shlex.quote(name)} ROWS -o CORRECTED"]
        found = [["isotropy", "apply", name, self.source, *self.more, *_to(self.source, name)]]
        if self.queries is not None:
            found.append(
                ["isotropy", "apply", name, self.queries, "--queries", *_to(self.queries, name)]
            )
        return [shlex.join(words) for words in found]


def _made(setting: str, dimensions: int | None) -> Any:
    """The unfitted corrector of a setting, of so many dimensions."""
    from isotropy.choose.candidates import candidates

    options = candidates(None, n_components=dimensions, normalize="none")
    return next(one.corrector for one in options if one.setting == setting)


def _to(source: str, name: str) -> list[str]:
    """Where corrected rows go: beside the source, or into its table, named after the corrector."""
    from isotropy.io.formats import writable
    from isotropy.storage.remote import is_remote

    stem = Path(name).stem
    if source.startswith(("postgresql:", "postgres:")) or source.rstrip("/").endswith(".lance"):
        return ["--as", "corrected" if stem == "corrector" else f"corrected_{stem}"]
    path = Path(source.rstrip("/"))
    told = "corrected" if stem == "corrector" else f"corrected-{stem}"
    if is_remote(source) or "://" in source or any(mark in source for mark in "*?["):
        return ["-o", f"{told}/"]
    suffix = path.suffix if path.suffix.lower() in writable() else ".npy"
    if path.is_dir():
        return ["-o", f"{path}-{told}/"]
    return ["-o", str(path.with_name(f"{path.stem}-{told}{suffix}"))]
