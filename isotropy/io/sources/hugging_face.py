"""Hugging Face `datasets`: a dataset in memory, or the folder that `save_to_disk` wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isotropy.io.columns import batches_after, table_rows
from isotropy.io.formats.arrow import read_arrow
from isotropy.io.ranges import LocalRanges
from isotropy.io.sources import Source, as_folder
from isotropy.io.sources.shards import shards_of
from isotropy.rows.source import Rows
from isotropy.storage.errors import FileError, damage

__all__ = [
    "DATASET",
    "SAVED_DATASET",
    "is_dataset",
    "is_saved_dataset",
    "read_dataset",
    "read_saved",
]


def is_dataset(source: Any) -> bool:
    """Whether this is a `datasets.Dataset`, without importing the library."""
    return type(source).__module__.startswith("datasets.") and hasattr(source, "with_format")


def read_dataset(dataset: Any, column: str | None) -> Rows:
    """The rows of one list column of a dataset, in its order: selections and shuffles hold."""
    if not hasattr(dataset, "num_rows") or isinstance(dataset.num_rows, dict):
        raise ValueError("datasets come with several splits here: choose one, e.g. data['train'].")
    table = dataset.with_format("arrow")
    schema = dataset.features.arrow_schema

    def batches(file: Any, columns: list[str], size: int, start: int = 0) -> Iterator[Any]:
        chosen = table.select_columns(columns)
        for part in chosen.iter(batch_size=size):
            yield from batches_after(iter(part.to_batches()), start)
            start = max(0, start - part.num_rows)

    name = dataset.info.dataset_name or "dataset"
    rows = table_rows(Path(name), column, schema, dataset.num_rows, batches)
    rows.mark = dataset._fingerprint
    return rows


def is_saved_dataset(source: Any) -> bool:
    """Whether this is a folder that `save_to_disk` wrote."""
    folder = as_folder(source)
    return folder is not None and any(
        (folder / name).is_file() for name in ("state.json", "dataset_dict.json")
    )


def read_saved(source: Any, column: str | None) -> Rows:
    """The rows of a dataset that `save_to_disk` wrote."""
    folder = Path(source)
    if not (folder / "state.json").is_file():
        with damage(folder, "dataset folder", OSError, ValueError, KeyError, TypeError):
            splits = json.loads((folder / "dataset_dict.json").read_text("utf-8"))["splits"]
            named = ", ".join(str(folder / split) for split in splits)
        raise FileError(folder, f"holds several splits; name one of them: {named}.")
    with damage(folder, "dataset folder", OSError, ValueError, KeyError, TypeError):
        state = json.loads((folder / "state.json").read_text("utf-8"))
        files = [folder / Path(entry["filename"]).name for entry in state["_data_files"]]
    for file in files:
        if not file.is_file():
            raise FileError(folder, f"its state.json names {file.name}, which is missing.")
    return shards_of(folder, files, column, lambda path, name: read_arrow(LocalRanges(path), name))


DATASET = Source(is_dataset, read_dataset)
SAVED_DATASET = Source(is_saved_dataset, read_saved)
