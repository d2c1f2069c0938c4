"""Fitted state as a safetensors file with JSON metadata: no pickle, its checksum checked."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from isotropy.storage.errors import FileError
from isotropy.storage.remote import Place, is_remote, place_of
from isotropy.storage.whole import whole_file

FORMAT_VERSION = 2
"""Since version 2 files have a checksum; those of version 1 are read without one."""

_MOST_HEADER = 100_000_000


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
    text = json.dumps({**header, **info})
    tensors = {name: contiguous(array) for name, array in arrays.items()}
    metadata = {"isotropy": text, "checksum": _checksum(text, tensors)}
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
    if Path(local).is_dir():
        raise FileError(path, "is a folder; name a file in it.")
    if not Path(local).is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    try:
        notes, data = _read(local)
        arrays = {name: contiguous(array).copy() for name, array in load(data).items()}
    except (SafetensorError, OSError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: not a readable safetensors file ({error}).") from error
    if "isotropy" not in notes:
        raise ValueError(f"{path}: holds tensors, but nothing that isotropy saved.")
    text = notes["isotropy"]
    try:
        info = json.loads(text)
        version = info["format_version"]
        info["class"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: its isotropy metadata is damaged ({error!r}).") from error
    if version not in (1, FORMAT_VERSION):
        raise ValueError(
            f"{path}: format version {version}, this isotropy reads version {FORMAT_VERSION} and "
            f"1. It was written by isotropy {info.get('library_version')}; use that version or "
            "newer."
        )
    if version > 1 and notes.get("checksum") != _checksum(text, arrays):
        raise ValueError(
            f"{path}: is damaged: its checksum is not that of its content. Take a copy, or fit and "
            "save again."
        )
    return info, arrays


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, str], bytes]:
    """The metadata and the content of a safetensors file; of one without ours nothing more."""
    with open(path, "rb") as file:
        begin = file.read(8)
        length, size = int.from_bytes(begin, "little"), os.fstat(file.fileno()).st_size
        if not 2 <= length <= min(_MOST_HEADER, size - 8):
            raise ValueError(f"a header of {length} bytes in {size}")
        header = file.read(length)
        notes = json.loads(header).get("__metadata__", {})
        return notes, begin + header + file.read() if "isotropy" in notes else save({})


def _checksum(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    """Of the metadata and of all arrays, with their names, types and shapes (BLAKE2b)."""
    digest = hashlib.blake2b(text.encode(), digest_size=32)
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, array.dtype.name, array.shape]).encode())
        digest.update(array.ravel().view(np.uint8).data)
    return digest.hexdigest()


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
