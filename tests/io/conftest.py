"""Files of embeddings as other libraries write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def _save_npz(path: Path, X: np.ndarray, column: str) -> None:
    np.savez(path, **{column: X})


def _save_safetensors(path: Path, X: np.ndarray, column: str) -> None:
    from safetensors.numpy import save_file

    save_file({column: np.array(X, order="C")}, path)


def _table(X: np.ndarray, column: str) -> Any:
    pa = pytest.importorskip("pyarrow")
    lists = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), X.shape[1])
    return pa.table({column: lists})


def _save_parquet(path: Path, X: np.ndarray, column: str) -> None:
    pytest.importorskip("pyarrow.parquet").write_table(_table(X, column), path)


def _save_arrow(path: Path, X: np.ndarray, column: str) -> None:
    pa = pytest.importorskip("pyarrow")
    table = _table(X, column)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _save_feather(path: Path, X: np.ndarray, column: str) -> None:
    pytest.importorskip("pyarrow.feather").write_feather(_table(X, column), str(path))


def _save_hdf5(path: Path, X: np.ndarray, column: str) -> None:
    with pytest.importorskip("h5py").File(path, "w") as file:
        file[column] = X


_SAVERS = {
    ".npy": lambda path, X, column: np.save(path, X),
    ".npz": _save_npz,
    ".safetensors": _save_safetensors,
    ".parquet": _save_parquet,
    ".arrow": _save_arrow,
    ".feather": _save_feather,
    ".h5": _save_hdf5,
}


@pytest.fixture(scope="session")
def save() -> Callable[..., Path]:
    """``save(path, X)``: a file in the format of the suffix, by the library that owns it."""

    def save(path: Path, X: np.ndarray, column: str = "vector") -> Path:
        _SAVERS[path.suffix](path, X, column)
        return path

    return save


@pytest.fixture
def X() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
