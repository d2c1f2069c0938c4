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

from isotropy.storage.remote import Place, is_remote, place_of
from isotropy.storage.whole import whole_file

FORMAT_VERSION = 1


def library_version() -> str:
    """The version of this library, as it was installed.

    Returns
    -------
    str

    Examples
    --------
    >>> library_version() != ""
    True
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("isotropy")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0+unknown"


def contiguous(array: np.ndarray) -> np.ndarray:
    """The array as it is kept in memory and in files: in C order and the machine's byte order.

    A product of an array in another order runs other code, with other last digits. In one order
    what was loaded gives, to the bit, what was saved.

    Parameters
    ----------
    array : ndarray

    Returns
    -------
    ndarray
        The same one where it is in that order already.

    Examples
    --------
    >>> import numpy as np
    >>> contiguous(np.asfortranarray(np.eye(3))).flags.c_contiguous
    True
    """
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


def save_state(
    path: str | os.PathLike[str], kind: str, info: Mapping[str, Any], arrays: Mapping[str, Any]
) -> None:
    """Save the state of an object of class `kind` as a safetensors file.

    Parameters
    ----------
    path : str or path-like
    kind : str
    info : dict
        JSON-able.
    arrays : dict of ndarray

    Raises
    ------
    FileError
        If it cannot be written.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> path = os.path.join(tempfile.mkdtemp(), "state")
    >>> save_state(path, "Thing", {"size": 3}, {"a": np.eye(3)})
    >>> load_state(path)[0]["size"]
    3
    """
    header = {"class": kind, "format_version": FORMAT_VERSION, "library_version": library_version()}
    metadata = {"isotropy": json.dumps({**header, **info})}
    tensors = {name: contiguous(array) for name, array in arrays.items()}
    with whole_file(path) as file:
        file.write(save(tensors, metadata))


def load_state(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read what `save_state` wrote.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    info : dict
        With "class", "format_version" and "library_version".
    arrays : dict of ndarray
        In C order.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it holds something else, is damaged, or is of another format version.

    Examples
    --------
    See `save_state`.

    >>> load_state("no such file")
    Traceback (most recent call last):
    FileNotFoundError: no such file: no such file.
    """
    if is_remote(path):
        place = place_of(path)
        _check_header(place)
        with place.fetched() as local:
            return _read_state(place.address, local)
    return _read_state(path, path)


def _check_header(place: Place) -> None:
    """Fetch no file of gigabytes that is none of ours."""
    length = int.from_bytes(place.content(0, 8), "little")
    if length > 10**8 or b'"isotropy"' not in place.content(8, 8 + length):
        raise ValueError(f"{place.address}: holds nothing that isotropy saved.")


def _read_state(
    path: str | os.PathLike[str], local: str | os.PathLike[str]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a file on this machine holds; errors name it by `path`."""
    if not Path(local).is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    try:
        with safe_open(local, framework="np") as file:
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
    """Check that the arrays read have the names and shapes given, and hold finite numbers.

    Parameters
    ----------
    path : str or path-like
        What an error names.
    arrays : dict of ndarray
    shapes : dict of tuple of int

    Raises
    ------
    ValueError
        If one is missing, too many, of another shape, or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> check_arrays("state", {"a": np.eye(3)}, {"a": (3, 3)})
    """
    for name, shape in shapes.items():
        if name not in arrays:
            raise ValueError(f"{path}: the array {name!r} is missing.")
        if arrays[name].shape != shape:
            raise ValueError(f"{path}: {name!r} has shape {arrays[name].shape}, wanted {shape}.")
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{path}: {name!r} holds NaN or infinity; the file was changed.")
    if extra := set(arrays) - set(shapes):
        raise ValueError(f"{path}: unexpected arrays {sorted(extra)}.")
