"""Commands and their options; what they do is in the library."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from isotropy.rows.arrays import check_weights
from isotropy.storage.state import library_version

app = typer.Typer(
    name="isotropy",
    help="Measure how anisotropic embeddings are, correct them, and measure again.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

DEFAULT_COMPARED = [
    "mean-removal",
    "component-removal",
    "whitening:power=0.5",
    "whitening",
]

Embeddings = Annotated[
    str,
    typer.Argument(
        help="Embeddings: a file (.npy, .npz, .safetensors, .parquet, .arrow, .fvecs, .h5, .vec, "
        "...), a folder or pattern of files, a Zarr or Lance folder, or postgresql://...#table."
    ),
]
Column = Annotated[
    str | None,
    typer.Option(help="Column, tensor or member that holds the vectors, where there are several."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON in the place of a table.")]
MetricNames = Annotated[
    str | None,
    typer.Option("--metrics", help="Names, separated by commas, or 'all'. See `score --list`."),
]
CORRECTOR_HELP = (
    "NAME or NAME:parameter=value,... such as whitening:method=zca,power=0.5. Names: "
    "auto-corrector, mean-removal, mean-direction-removal, component-removal, conceptor-negation, "
    "tapered-whitening, whitening."
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"isotropy {library_version()}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def score(
    embeddings: Annotated[
        str | None,
        typer.Argument(help="Embeddings in any format, or Moments that isotropy saved."),
    ] = None,
    column: Column = None,
    metrics: MetricNames = None,
    as_json: AsJson = False,
    list_metrics: Annotated[
        bool, typer.Option("--list", help="List the metrics and what they mean, and stop.")
    ] = False,
) -> None:
    """Score embeddings: every metric with its value under isotropy beside it."""
    from isotropy import scoring as library
    from isotropy.metrics import METRICS

    if list_metrics:
        for metric in METRICS.values():
            typer.echo(f"{metric.name:28} {metric.title} [needs {metric.needs}]")
        return
    if embeddings is None:
        raise ValueError("EMBEDDINGS is missing: name a file to score.")
    card = library.score(_rows_or_moments(embeddings, column), metrics=_metric_names(metrics))
    typer.echo(card.to_json() if as_json else str(card))


@app.command()
def fit(
    embeddings: Embeddings,
    output: Annotated[Path, typer.Option("--output", "-o", help="Corrector file to write.")],
    corrector: Annotated[str, typer.Option("--corrector", "-c", help=CORRECTOR_HELP)] = "whitening",
    column: Column = None,
    weights: Annotated[
        Path | None, typer.Option(help="A .npy file with one weight a row (frequencies).")
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
    as_json: AsJson = False,
) -> None:
    """Fit a corrector to embeddings, in one pass, and write it to a file."""
    from isotropy.cli._progress import counter
    from isotropy.cli._specs import parse_corrector
    from isotropy.io import open_rows
    from isotropy.jobs import stream_moments

    estimator = parse_corrector(corrector)
    _check_target(output, embeddings)
    rows = open_rows(embeddings, column=column)
    weight = None if weights is None else _read_weights(weights, rows.shape[0])
    empty = estimator._new_moments()
    with counter("fit", rows.shape[0]) as progress:
        moments = stream_moments(
            rows,
            weight,
            checkpoint=checkpoint,
            every=checkpoint_every,
            progress=progress,
            **empty._options(),
        )
    if not moments.total_weight > 0:
        raise ValueError(f"{embeddings}: holds no rows to learn from.")
    estimator.fit_moments(moments)
    estimator.save(output, moments=save_moments)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    told = {
        "corrector": type(estimator).__name__,
        "rows": moments.n_rows,
        "n_features_in": estimator.n_features_in_,
        "n_features_out": estimator.affine_map_.n_features_out,
        "file": str(output),
    }
    _tell(
        told,
        as_json,
        "{corrector} fitted on {rows:,} rows: {n_features_in} -> {n_features_out} dimensions. "
        "Written to {file}",
    )


@app.command()
def apply(
    corrector: Annotated[Path, typer.Argument(help="A corrector file that `fit` wrote.")],
    embeddings: Embeddings,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="File to write; suffix = format. A folder gets a file for each file read, and the "
            "same command goes on where it was stopped. Without it, --as is a new column of the "
            "Lance or PostgreSQL table.",
        ),
    ] = None,
    column: Column = None,
    new_column: Annotated[
        str | None, typer.Option("--as", help="Name of the corrected column.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Correct embeddings with a fitted corrector, block by block."""
    from isotropy import load
    from isotropy.cli._progress import counter
    from isotropy.io import open_rows
    from isotropy.jobs import correct

    estimator = load(corrector)
    if output is None and new_column is None:
        raise ValueError("--output is missing: a file or folder to write; or --as, for tables.")
    if output is not None:
        _check_target(output, embeddings)
        _check_target(output, corrector)
    rows = open_rows(embeddings, column=column)
    with counter("apply", rows.shape[0]) as progress:
        n, k = correct(estimator, rows, output, new_column=new_column, progress=progress)
    _tell(
        {"rows": n, "n_features_out": k, "file": output or f"column {new_column} of {embeddings}"},
        as_json,
        "{rows:,} rows of {n_features_out} dimensions written to {file}",
    )


@app.command()
def compare(
    embeddings: Embeddings,
    corrector: Annotated[
        list[str] | None,
        typer.Option("--corrector", "-c", help="Repeat for several. " + CORRECTOR_HELP),
    ] = None,
    column: Column = None,
    metrics: MetricNames = None,
    as_json: AsJson = False,
    markdown: Annotated[bool, typer.Option(help="Print a Markdown table.")] = False,
) -> None:
    """Score embeddings before and after several correctors, with the same metrics."""
    from isotropy import scoring as library
    from isotropy.cli._specs import parse_corrector

    correctors = {spec: parse_corrector(spec) for spec in corrector or DEFAULT_COMPARED}
    table = library.compare(
        _rows_or_moments(embeddings, column), correctors, metrics=_metric_names(metrics)
    )
    typer.echo(table.to_json() if as_json else table.to_markdown() if markdown else str(table))


@app.command()
def report(
    embeddings: Embeddings,
    output: Annotated[Path, typer.Option("--output", "-o", help="An .html page, or .md.")],
    corrector: Annotated[
        list[str] | None,
        typer.Option("--corrector", "-c", help="Repeat for several. " + CORRECTOR_HELP),
    ] = None,
    texts: Annotated[
        Path | None, typer.Option(help="The texts of the rows: shown at points and hubs.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Reference embeddings, or Moments, to look for drift.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="An encoder whose layers to show, run on the texts."),
    ] = None,
    column: Column = None,
    title: Annotated[str | None, typer.Option(help="By default the file's name.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write one self-contained page about embeddings: verdict, scores, pictures, hubs."""
    from isotropy import report as library
    from isotropy.cli._specs import parse_corrector
    from isotropy.io import open_rows
    from isotropy.io.texts import read_texts

    _check_target(output, embeddings)
    correctors = {spec: parse_corrector(spec) for spec in corrector} if corrector else None
    lines, profile = None if texts is None else list(read_texts(texts)), None
    if model is not None:
        if lines is None:
            raise ValueError("--model needs --texts: its layers are run on them.")
        from isotropy.encoders import layer_profile

        profile = layer_profile(model, lines)
    made = library.report(
        open_rows(embeddings, column=column),
        correctors,
        texts=lines,
        profile=profile,
        against=None if against is None else _rows_or_moments(against, None),
        title=title or Path(embeddings).name,
    )
    made.save(output)
    _tell(
        {"verdict": made.verdict, "file": str(output)},
        as_json,
        "\n".join(made.verdict).replace("{", "{{").replace("}", "}}") + "\nWritten to {file}",
    )


@app.command()
def advise(
    embeddings: Embeddings,
    texts: Annotated[
        Path | None, typer.Option(help="The texts of the rows: what the choice goes by.")
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(help="Judged pairs: .csv or .tsv with two row numbers (from 0) and a score."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the corrector it chose here.")
    ] = None,
    dimensions: Annotated[int | None, typer.Option(min=1, help="Keep so many.")] = None,
    column: Column = None,
    as_json: AsJson = False,
) -> None:
    """Which correction suits these embeddings? "None" is an answer, and there is a reason."""
    from isotropy.choose import AutoCorrector
    from isotropy.io.texts import read_texts
    from isotropy.scoring.scorecard import to_json

    if output is not None:
        _check_target(output, embeddings)
    found = _rows_or_moments(embeddings, column)
    auto = AutoCorrector(n_components=dimensions)
    if hasattr(found, "blocks"):
        more: dict[str, Any] = {}
        if texts is not None:
            more["texts"] = list(read_texts(texts))
        if pairs is not None:
            more["pairs"], more["pair_scores"] = _read_pairs(pairs)
        auto.fit(found, **more)
    elif texts is not None or pairs is not None:
        raise ValueError(f"{embeddings}: holds moments; --texts and --pairs need the rows.")
    else:
        auto.fit_moments(found)
    if output is not None:
        auto.save(output)
    report = auto.report_
    if as_json:
        told = {
            "chosen": auto.chosen_,
            "reason": report.reason,
            "criterion": report.criterion,
            "candidates": report.candidates,
            "file": None if output is None else str(output),
        }
        typer.echo(to_json(told, 2))
        return
    typer.echo(str(report) + ("" if output is None else f"\nWritten to {output}"))


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="Hub name, folder, or 'minilm' (bundled).")],
    data: Annotated[
        list[Path],
        typer.Option(
            "--data",
            help="A task: pairs with scores or labels, labelled texts, or a folder with "
            "corpus.jsonl, queries.jsonl and qrels.tsv. Repeat for several.",
        ),
    ],
    corrector: Annotated[
        list[str] | None,
        typer.Option("--corrector", "-c", help="Repeat for several. " + CORRECTOR_HELP),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(help="'sts', 'pairs', 'retrieval', 'clustering' or 'classification'."),
    ] = None,
    layer: Annotated[str, typer.Option(help="As for `encode`.")] = "output",
    query_mean: Annotated[bool, typer.Option(help="Correct queries about their own mean.")] = False,
    batch_size: Annotated[int, typer.Option(min=1)] = 64,
    max_length: Annotated[int | None, typer.Option(min=1, help="Tokens to keep.")] = None,
    device: Annotated[str, typer.Option(help="'auto', 'cpu', 'cuda', ...")] = "auto",
    as_json: AsJson = False,
    markdown: Annotated[bool, typer.Option(help="Print a Markdown table.")] = False,
) -> None:
    """Do corrections help on real tasks? Scores, and intervals of the difference to raw."""
    from isotropy.cli._specs import parse_corrector
    from isotropy.evaluate import evaluate as run
    from isotropy.evaluate import read_task
    from isotropy.scoring.scorecard import to_json

    tasks = [read_task(path, kind) for path in data]
    chosen = corrector or ["auto-corrector", "mean-removal", "whitening:power=0.5", "whitening"]
    found = run(
        model,
        tasks,
        {spec: parse_corrector(spec) for spec in chosen},
        layer=int(layer) if layer.lstrip("-").isdigit() else layer,
        query_mean=query_mean,
        batch_size=batch_size,
        max_length=max_length,
        device=device,
        progress=sys.stderr.isatty(),
    )
    typer.echo(
        to_json(found.to_dict(), 2) if as_json else found.to_markdown() if markdown else str(found)
    )


@app.command()
def drift(
    reference: Annotated[str, typer.Argument(help="Embeddings, or Moments that were saved.")],
    new: Annotated[str, typer.Argument(help="Embeddings, or Moments that were saved.")],
    column: Column = None,
    as_json: AsJson = False,
) -> None:
    """Have embeddings moved since the reference, beyond what sampling makes?"""
    from isotropy import scoring as library
    from isotropy.scoring.scorecard import to_json

    found = library.drift(_rows_or_moments(reference, column), _rows_or_moments(new, column))
    typer.echo(to_json(found.to_dict(), 2) if as_json else str(found))


@app.command()
def encode(
    texts: Annotated[
        Path, typer.Argument(help="Texts: .txt (a line each), .csv, .tsv, .jsonl, .parquet.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Embeddings file to write.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="Hub name, folder, or 'minilm' (bundled).")
    ] = "minilm",
    layer: Annotated[
        str,
        typer.Option(
            help="'output' (as the encoder gives it), 'last', 'first-last-avg', or a number."
        ),
    ] = "output",
    pooling: Annotated[
        str | None, typer.Option(help="'mean', 'cls' or 'max', for inner layers; mean by default.")
    ] = None,
    column: Column = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 64,
    max_length: Annotated[int | None, typer.Option(min=1, help="Tokens to keep.")] = None,
    device: Annotated[str, typer.Option(help="'auto', 'cpu', 'cuda', ...")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Encode texts with a sentence encoder, at any layer."""
    from isotropy.encoders import encode_blocks
    from isotropy.io import RowWriter
    from isotropy.io.texts import read_texts

    _check_target(output, texts)
    lines = list(read_texts(texts, column=column))
    blocks = encode_blocks(
        model,
        lines,
        layer=int(layer) if layer.lstrip("-").isdigit() else layer,
        pooling=pooling,
        batch_size=batch_size,
        max_length=max_length,
        device=device,
        progress=sys.stderr.isatty(),
    )
    first = next(blocks)
    n, d = len(lines), first.shape[1]
    with RowWriter(output, shape=(n, d), dtype=first.dtype) as writer:
        writer.write(first)
        for block in blocks:
            writer.write(block)
    _tell(
        {"rows": n, "n_features": d, "file": str(output)},
        as_json,
        "{rows:,} texts encoded in {n_features} dimensions. Written to {file}",
    )


@app.command()
def layers(
    model: Annotated[str, typer.Argument(help="Hub name, folder, or 'minilm' (bundled).")],
    data: Annotated[
        Path, typer.Option("--data", help="Texts: .txt (a line each), .csv, .tsv, .jsonl, ...")
    ],
    column: Column = None,
    metrics: MetricNames = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    max_length: Annotated[int | None, typer.Option(min=1, help="Tokens to keep.")] = None,
    device: Annotated[str, typer.Option(help="'auto', 'cpu', 'cuda', ...")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Score every layer of a text encoder, its tokens and its pooled texts, in one pass."""
    from isotropy.encoders import layer_profile
    from isotropy.io.texts import read_texts
    from isotropy.scoring.scorecard import to_json

    chosen = _metric_names(metrics)
    if chosen == "all":
        raise ValueError("layers takes a list of metrics, not 'all'.")
    options = {} if chosen is None else {"metrics": chosen}
    profile = layer_profile(
        model,
        read_texts(data, column=column),
        batch_size=batch_size,
        max_length=max_length,
        device=device,
        **options,
    )
    typer.echo(to_json(profile.to_dict(), 2) if as_json else str(profile))


@app.command()
def wrap(
    model: Annotated[str, typer.Argument(help="Hub name, folder, or 'minilm' (bundled).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write; must be new.")],
    texts: Annotated[
        Path | None, typer.Option(help="Texts to fit on: .txt, .csv, .tsv, .jsonl, .parquet.")
    ] = None,
    corrector: Annotated[
        str,
        typer.Option("--corrector", "-c", help="A corrector file, or " + CORRECTOR_HELP),
    ] = "whitening:power=0.5",
    queries: Annotated[
        Path | None, typer.Option(help="Queries, to fit statistics of their own to.")
    ] = None,
    normalize: Annotated[
        bool | None,
        typer.Option(help="Scale embeddings to length one; by default as the encoder does."),
    ] = None,
    prompt_name: Annotated[str | None, typer.Option(help="Prompt to fit with.")] = None,
    column: Column = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 64,
    device: Annotated[str, typer.Option(help="'auto', 'cpu', 'cuda', ...")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Put a correction inside a sentence encoder, and save it as one that loads anywhere."""
    from isotropy import encoders
    from isotropy.cli._specs import corrector_or_file
    from isotropy.io.texts import read_texts
    from isotropy.storage.whole import check_folder

    check_folder(output)
    chosen = corrector_or_file(corrector)
    encoder = encoders.wrap(
        model,
        None if texts is None else list(read_texts(texts, column=column)),
        chosen,
        queries=None if queries is None else list(read_texts(queries, column=column)),
        normalize=normalize,
        prompt_name=prompt_name,
        batch_size=batch_size,
        device=device,
        progress=sys.stderr.isatty(),
    )
    encoders.save(encoder, output)
    fitted: Any = encoder.isotropy_corrector
    _tell(
        {
            "corrector": type(fitted).__name__,
            "n_features_in": fitted.n_features_in_,
            "n_features_out": fitted._n_features_out,
            "folder": str(output),
        },
        as_json,
        "{corrector}, {n_features_in} -> {n_features_out} dimensions, is inside the encoder in "
        "{folder}",
    )


@app.command()
def check(
    encoder: Annotated[Path, typer.Argument(help="Folder that `wrap` wrote.")],
    corrector: Annotated[
        Path | None,
        typer.Option("--corrector", "-c", help="Corrector file, where the folder has none."),
    ] = None,
    texts: Annotated[Path | None, typer.Option(help="Texts to compare on.")] = None,
    column: Column = None,
    tolerance: Annotated[float, typer.Option(min=0, help="In lengths of an embedding.")] = 1e-5,
    as_json: AsJson = False,
) -> None:
    """Check that a saved encoder gives what its corrector gives; exit code 1 if not."""
    from isotropy import encoders
    from isotropy.io.texts import read_texts

    lines = None if texts is None else list(read_texts(texts, column=column))
    found = encoders.check(encoder, corrector, lines, tolerance=tolerance)
    _tell(
        {
            "verdict": "agree" if found.holds else "DISAGREE",
            "largest_difference": found.largest,
            "tolerance": tolerance,
            "texts": found.n_texts,
        },
        as_json,
        "The encoder and its corrector {verdict}: largest difference {largest_difference:.1e} of "
        "the length of an embedding, over {texts} texts.",
    )
    if not found.holds:
        raise typer.Exit(1)


@app.command()
def export(
    corrector: Annotated[Path, typer.Argument(help="A corrector file that `fit` wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File, or folder for dense.")],
    to: Annotated[str, typer.Option(help="dense, faiss, onnx, npz or safetensors.")],
    index: Annotated[
        Path | None, typer.Option(help="For faiss: the index to put the correction before.")
    ] = None,
    normalize: Annotated[
        bool | None,
        typer.Option(help="Scale rows to length one after; by default as the corrector does."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a fitted corrector in the format of what will run it."""
    from isotropy import load
    from isotropy.export._write import write

    estimator = load(corrector)
    _check_target(output, corrector)
    write(estimator, to, output, normalize=normalize, index=index)
    _tell(
        {"corrector": type(estimator).__name__, "format": to, "file": str(output)},
        as_json,
        "{corrector} written to {file} for {format}",
    )


@app.command()
def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the files it writes.")
    ] = Path("isotropy-demo"),
    sentences: Annotated[int, typer.Option(min=50, help="How many sentences to take.")] = 3000,
) -> None:
    """Encode real text with a real MiniLM; score, correct, score again, and write the files."""
    from isotropy.cli.demo import run

    run(output, sentences)


class _Typed:
    """Something with a dtype: the question `output_dtype` asks of an array."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype


def _metric_names(text: str | None) -> Any:
    return text if text in (None, "all") else [name.strip() for name in text.split(",")]


def _rows_or_moments(source: str, column: str | None) -> Any:
    from isotropy import Moments
    from isotropy.io import open_rows

    path = Path(source)
    if path.suffix == ".safetensors" and column is None and path.is_file():
        from safetensors import safe_open

        try:
            with safe_open(path, framework="np") as file:
                saved = "isotropy" in (file.metadata() or {})
        except Exception:
            saved = False  # open_rows says what is wrong with it
        if saved:
            return Moments.load(path)
    return open_rows(source, column=column)


def _read_weights(path: Path, n: int) -> np.ndarray:
    try:
        weights = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: not a readable .npy file ({error}).") from error
    checked = check_weights(weights, n)
    assert checked is not None
    return checked


def _read_pairs(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: could not be read ({error}).") from error
    pairs, scores = [], []
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.replace("\t", ",").split(",")
        try:
            row = int(fields[0]), int(fields[1]), float(fields[2])
        except (ValueError, IndexError):
            if number == 1:  # names of the columns
                continue
            raise ValueError(
                f"{path}: line {number} is not two row numbers and a score: {line!r}."
            ) from None
        pairs.append(row[:2])
        scores.append(row[2])
    if not pairs:
        raise ValueError(f"{path}: holds no pair.")
    return np.array(pairs), np.array(scores)


def _check_target(output: str | Path, source: str | Path) -> None:
    output, source = Path(output), Path(source)
    if output.exists() and source.exists() and output.samefile(source):
        raise ValueError(f"{output}: is the input too; choose another name for the output.")
    if not output.parent.is_dir():
        raise ValueError(f"{output}: the folder {output.parent} does not exist; make it first.")


def _tell(told: dict[str, Any], as_json: bool, sentence: str) -> None:
    import json

    typer.echo(json.dumps(told) if as_json else sentence.format(**told))


def main(args: list[str] | None = None) -> None:
    """Run the command: exit code 0, or 2 with one clear line for wrong input."""
    told: set[str] = set()

    def note(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if str(message) not in told and not issubclass(category, DeprecationWarning):
            told.add(str(message))
            typer.echo(f"isotropy: note: {message}", err=True)

    with warnings.catch_warnings():
        warnings.showwarning = note
        try:
            app(args)
        except (ValueError, OSError, ImportError) as error:
            message = " ".join(str(error).split())
            typer.echo(f"isotropy: error: {message}", err=True)
            sys.exit(2)
