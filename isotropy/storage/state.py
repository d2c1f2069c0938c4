"""Fitted state as a safetensors file with JSON metadata: no pickle, checked when it is read."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from isotropy.storage.whole import whole_file

FORMAT_VERSION = 1


def library_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("isotropy")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0+unknown"


def contiguous(array: np.ndarray) -> np.ndarray:
    """The array as it is kept in memory and in files: in C order and the machine's byte order.

    A product of an array in another order runs other code, with other last digits. In one order
    what was loaded gives, to the bit, what was saved.
    """
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


def save_state(
    path: str | os.PathLike[str], kind: str, info: Mapping[str, Any], arrays: Mapping[str, Any]
) -> None:
    """Save `arrays` and the JSON-able `info` of an object of class `kind`."""
    header = {"class": kind, "format_version": FORMAT_VERSION, "library_version": library_version()}
    metadata = {"isotropy": json.dumps({**header, **info})}
    tensors = {name: contiguous(array) for name, array in arrays.items()}
    with whole_file(path) as file:
        file.write(save(tensors, metadata))


def load_state(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read what `save_state` wrote; a ``ValueError`` says what is wrong with any other file."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    try:
        with safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get("isotropy")
            arrays = {name: contiguous(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError) as error:
        raise ValueError(f"{path}: not a readable safetensors file ({error}).") from error
    if text is None:
        raise ValueError(f"{path}: holds tensors, but nothing that isotropy saved.")
    try:
        info = json.loads(text)
        version = info["format_version"]
        info["class"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: its isotropy metadata is damaged ({error!r}).") from error
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{path}: format version {version}, this isotropy reads version {FORMAT_VERSION}. "
            f"It was written by isotropy {info.get('library_version')}; use that version or newer."
        )
    return info, arrays


def check_arrays(
    path: Any, arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Check that the arrays read have the names and shapes given, and hold finite numbers."""
    for name, shape in shapes.items():
        if name not in arrays:
            raise ValueError(f"{path}: the array {name!r} is missing.")
        if arrays[name].shape != shape:
            raise ValueError(f"{path}: {name!r} has shape {arrays[name].shape}, wanted {shape}.")
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{path}: {name!r} holds NaN or infinity; the file was changed.")
    if extra := set(arrays) - set(shapes):
        raise ValueError(f"{path}: unexpected arrays {sorted(extra)}.")
