"""``isotropy fit``."""

from __future__ import annotations

import os
from inspect import signature
from pathlib import Path
from typing import Annotated, Any

import typer

from isotropy.cli._correctors import CORRECTOR_HELP, parse_corrector
from isotropy.cli._files import (
    check_output,
    check_suffix,
    place,
    read_labels,
    read_pairs,
    read_weights,
    rows_or_moments,
    stamps,
    tell,
    writing,
)
from isotropy.cli._options import AsJson, Column, Embeddings, Overwrite
from isotropy.rows import BadRowError
from isotropy.tables import CORRECTORS

__all__ = ["fit"]


def fit(
    embeddings: Embeddings,
    output: Annotated[
        Any,
        typer.Option("--output", "-o", parser=place, help="Corrector file to write: .safetensors."),
    ],
    corrector: Annotated[str, typer.Option("--corrector", "-c", help=CORRECTOR_HELP)] = "whitening",
    column: Column = None,
    weights: Annotated[
        Path | None, typer.Option(help="A .npy file with one weight a row (frequencies).")
    ] = None,
    queries: Annotated[
        str | None,
        typer.Option(help="Embeddings of queries: they will be corrected about their own mean."),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            help="Judged pairs, for correctors that learn from them: .csv or .tsv with "
            "two row numbers (from 0) and a score."
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="A label a line, for correctors that learn from them: the class or number to "
            "erase, or the group of each row. An empty line is a label that is missing."
        ),
    ] = None,
    save_moments: Annotated[
        bool, typer.Option("--moments", help="Store the moments too, so that learning can go on.")
    ] = False,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Keep the state in this file: after a crash, the same command goes on."),
    ] = None,
    checkpoint_every: Annotated[
        float, typer.Option(min=0, help="Seconds between two checkpoints.")
    ] = 30.0,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Fit a corrector to embeddings, in one pass, and write it to a file."""
    from isotropy.io import open_rows

    estimator = parse_corrector(corrector)
    _check_pairs(corrector, estimator, pairs)
    takes = _check_labels(corrector, estimator, labels)
    check_suffix(output, ".safetensors")
    if checkpoint is not None and str(checkpoint.resolve()) == os.path.realpath(output):
        raise ValueError(f"{output}: is the checkpoint too, which is deleted at the end.")
    rows = open_rows(embeddings, column=column)
    also = (queries, weights, pairs, labels)
    plan = [corrector, save_moments, rows.fingerprint(), stamps(*also)]
    with writing(output, plan, rows, *also, checkpoint, overwrite=overwrite):
        weight = None if weights is None else read_weights(weights, rows.shape[0])
        asked: dict[str, Any] = {} if queries is None else {"queries": rows_or_moments(queries)}
        if labels is not None:
            asked[takes] = read_labels(labels, rows.shape[0])
        if pairs is None and labels is None and hasattr(estimator, "fit_moments"):
            if checkpoint is not None:
                check_output(checkpoint, rows, *also)
            moments = _moments(estimator, rows, weight, checkpoint, checkpoint_every)
            estimator.fit_moments(moments, **asked)
        elif checkpoint is not None:
            raise ValueError(f"--checkpoint: {corrector} learns from rows, all at once.")
        else:
            _learn(estimator, rows, weight, pairs, asked)
        estimator.save(output, **({"moments": True} if save_moments else {}))
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    _tell(estimator, rows, output, as_json)


def _tell(estimator: Any, rows: Any, output: Any, as_json: bool) -> None:
    told = {
        "corrector": type(estimator).__name__,
        "rows": rows.shape[0],
        "n_features_in": estimator.n_features_in_,
        "n_features_out": estimator._n_features_out,
        "file": str(output),
    }
    why = ""
    if hasattr(estimator, "reason_"):  # it chose
        told |= {"chosen": estimator.chosen_, "reason": estimator.reason_}
        why = ".\n{reason}"
    tell(
        told,
        as_json,
        "{corrector} fitted on {rows:,} rows: {n_features_in} -> {n_features_out} dimensions. "
        "Written to {file}" + why,
    )


def _check_pairs(spec: str, estimator: Any, pairs: Path | None) -> None:
    """Refuse pairs for a corrector that learns nothing from them, and such a one without them."""
    name = spec.partition(":")[0]
    if pairs is not None and "pairs" not in signature(estimator.fit).parameters:
        able = [n for n, cls in CORRECTORS.items() if "pairs" in signature(cls.fit).parameters]
        raise ValueError(f"--pairs: {name} learns from no pairs; {', '.join(able)} do.")
    learns = "pairs" in signature(estimator.fit).parameters
    if pairs is None and learns and not hasattr(estimator, "fit_moments"):
        raise ValueError(f"{name} learns from pairs: name their file by --pairs.")


def _check_labels(spec: str, estimator: Any, labels: Path | None) -> str:
    """The keyword that takes labels; refuse them, or that there are none, where that is wrong."""
    name = spec.partition(":")[0]
    takes = [word for word in ("z", "groups") if word in signature(estimator.fit).parameters]
    if labels is not None and not takes:
        raise ValueError(f"--labels: {name} learns from no labels.")
    if labels is None and takes:
        raise ValueError(f"{name} learns from labels: name their file by --labels.")
    return takes[0] if takes else ""


def _learn(estimator: Any, rows: Any, weight: Any, pairs: Path | None, asked: Any) -> None:
    """Fit a corrector that needs the rows themselves."""
    if pairs is not None:
        asked["pairs"], asked["pair_scores"] = read_pairs(pairs)
    try:
        estimator.fit(rows, sample_weight=weight, **asked)
    except BadRowError as error:
        raise error.at(rows.locate(error.row)) from None


def _moments(estimator: Any, rows: Any, weight: Any, checkpoint: Path | None, every: float) -> Any:
    from isotropy.cli._progress import counter
    from isotropy.jobs import stream_moments

    with counter("fit", rows.shape[0]) as progress:
        moments = stream_moments(
            rows,
            weight,
            checkpoint=checkpoint,
            every=every,
            progress=progress,
            **estimator._new_moments()._options(),
        )
    if not moments.total_weight > 0:
        raise ValueError(f"{rows.path}: holds no rows to learn from.")
    return moments
