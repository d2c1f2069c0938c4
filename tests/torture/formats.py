"""Files of rows, written and read by the libraries that own the formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["READABLE", "read", "table_of", "write"]


def write(path: Path, X: np.ndarray) -> Path:
    """Rows as a file of the format that the suffix names, in a column "v"."""
    _WRITE[path.suffix](path, X)
    return path


def read(path: Path) -> np.ndarray:
    """All rows of a file, slowly; whatever the library raises where it is damaged."""
    found = READABLE[path.suffix](path)
    if found.ndim != 2 or found.dtype.kind != "f":
        raise ValueError(f"{path}: holds {found.dtype} of shape {found.shape}")
    return found


def table_of(X: np.ndarray) -> Any:
    """Rows as an Arrow table with a key."""
    import pyarrow as pa

    lists = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), X.shape[1])
    return pa.table({"id": np.arange(len(X)), "v": lists})


def _write_parquet(path: Path, X: np.ndarray) -> None:
    import pyarrow.parquet as parquet

    parquet.write_table(table_of(X), path, row_group_size=100)


def _write_arrow(path: Path, X: np.ndarray) -> None:
    import pyarrow as pa

    table = table_of(X)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=100)


def _write_hdf5(path: Path, X: np.ndarray) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("v", data=X, chunks=(min(100, len(X)), X.shape[1]))


def _write_safetensors(path: Path, X: np.ndarray) -> None:
    from safetensors.numpy import save_file

    save_file({"v": np.array(X, order="C")}, path)


def _write_fvecs(path: Path, X: np.ndarray) -> None:
    counts = np.full((len(X), 1), X.shape[1], "<i4")
    np.hstack([counts, np.ascontiguousarray(X, "<f4").view("<i4")]).tofile(path)


def _stacked(table: Any) -> np.ndarray:
    column = table.column("v" if "v" in table.column_names else "embedding").combine_chunks()
    return np.stack(column.to_numpy(zero_copy_only=False)) if len(column) else np.empty((0, 1))


def _read_parquet(path: Path) -> np.ndarray:
    import pyarrow.parquet as parquet

    names = parquet.read_schema(path).names
    return _stacked(parquet.read_table(path, columns=["v" if "v" in names else "embedding"]))


def _read_arrow(path: Path) -> np.ndarray:
    import pyarrow as pa

    with pa.OSFile(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
    table.validate(full=True)
    return _stacked(table)


def _read_npz(path: Path) -> np.ndarray:
    with np.load(path, allow_pickle=False) as archive:
        return np.asarray(archive["v" if "v" in archive.files else archive.files[0]])


def _read_hdf5(path: Path) -> np.ndarray:
    import h5py

    with h5py.File(path) as file:
        return np.asarray(file["v" if "v" in file else next(iter(file))])


def _read_safetensors(path: Path) -> np.ndarray:
    from safetensors.numpy import load_file

    return np.asarray(next(iter(load_file(path).values())))


def _read_fvecs(path: Path) -> np.ndarray:
    whole = np.fromfile(path, "<i4")
    if path.stat().st_size % 4 or not len(whole) or whole[0] < 1 or len(whole) % (whole[0] + 1):
        raise ValueError(f"{path}: no whole number of rows")
    rows = whole.reshape(-1, whole[0] + 1)
    if (rows[:, 0] != whole[0]).any():
        raise ValueError(f"{path}: rows of several lengths")
    return np.ascontiguousarray(rows[:, 1:]).view("<f4")


_WRITE: dict[str, Callable[[Path, np.ndarray], object]] = {
    ".npy": np.save,
    ".npz": lambda path, X: np.savez(path, v=X),
    ".safetensors": _write_safetensors,
    ".fvecs": _write_fvecs,
    ".parquet": _write_parquet,
    ".arrow": _write_arrow,
    ".feather": _write_arrow,
    ".h5": _write_hdf5,
    ".hdf5": _write_hdf5,
}
READABLE: dict[str, Callable[[Path], np.ndarray]] = {
    ".npy": lambda path: np.load(path, allow_pickle=False),
    ".npz": _read_npz,
    ".safetensors": _read_safetensors,
    ".fvecs": _read_fvecs,
    ".parquet": _read_parquet,
    ".arrow": _read_arrow,
    ".feather": _read_arrow,
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
}
