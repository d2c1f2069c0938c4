"""No code comes out of data: a payload planted in every file that is read is never run."""

from __future__ import annotations

import json
import pickle
import zipfile

import numpy as np
import pytest
from cases import Payload

from isotropy.io import open_rows

X = np.arange(12, dtype=np.float32).reshape(4, 3)


def pickled(mark):
    return pickle.dumps(Payload(mark))


def npy_of_objects(folder, mark):
    np.save(folder / "x.npy", np.array([[Payload(mark)]], object), allow_pickle=True)


def npy_that_is_a_pickle(folder, mark):
    (folder / "x.npy").write_bytes(pickled(mark))


def npz_of_objects(folder, mark):
    np.savez(folder / "x.npz", X=X, evil=np.array([[Payload(mark)]], object))


def npz_with_a_pickle(folder, mark):
    with zipfile.ZipFile(folder / "x.npz", "w") as archive:
        archive.writestr("x.npy", pickled(mark))
        archive.writestr("data.pkl", pickled(mark))


def torch_file(suffix):
    def write(folder, mark):
        pytest.importorskip("torch").save({"x": Payload(mark)}, folder / f"x{suffix}")

    return write


def named(name):
    def write(folder, mark):
        (folder / name).write_bytes(pickled(mark))

    return write


def parquet_with_notes(folder, mark):
    pa = pytest.importorskip("pyarrow")
    notes = {
        "pandas": json.dumps({"index_columns": [], "columns": [], "evil": str(pickled(mark))}),
        "ARROW:extension:name": "arrow.py_extension_type",
        "ARROW:extension:metadata": pickled(mark),
    }
    lists = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 3)
    field = pa.field("v", lists.type, metadata=notes)
    other = pa.field("other", pa.binary(), metadata=notes)
    table = pa.table([lists, pa.array([pickled(mark)] * 4)], pa.schema([field, other], notes))
    pytest.importorskip("pyarrow.parquet").write_table(table, folder / "x.parquet")
    with pa.ipc.new_file(str(folder / "x.arrow"), table.schema) as writer:
        writer.write_table(table)
    with pa.ipc.new_stream(str(folder / "stream.arrow"), table.schema) as writer:
        writer.write_table(table)


def hdf5_of_opaque(folder, mark):
    with pytest.importorskip("h5py").File(folder / "x.h5", "w") as file:
        file["evil"] = np.void(pickled(mark))
        file["v"] = X
        file["v"].attrs["TYPE"] = np.void(pickled(mark))


def zarr_with_a_pickling_codec(folder, mark):
    """As numcodecs reads it: the metadata of version 2 name the codec, the chunk is a pickle."""
    for name, kind in (("numbers.zarr", "<f4"), ("objects.zarr", "|O")):
        for place in ("filters", "compressor"):
            path = folder / f"{place}-{name}"
            path.mkdir()
            codec = {"id": "pickle", "protocol": 5}
            told = {
                "zarr_format": 2, "shape": [4, 3], "chunks": [4, 3], "dtype": kind, "order": "C",
                "fill_value": 0, "filters": None, "compressor": None,
            }  # fmt: skip
            told[place] = [codec] if place == "filters" else codec
            (path / ".zarray").write_text(json.dumps(told))
            (path / "0.0").write_bytes(pickled(mark))


def saved_dataset(folder, mark):
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"v": list(X)}).save_to_disk(str(folder / "saved"))
    saved = folder / "saved"
    for name in ("cache-0.arrow", "dataset.pkl", "indices.pkl"):
        (saved / name).write_bytes(pickled(mark))
    code = f"import pathlib\npathlib.Path({str(mark)!r}).touch()\n"
    for name in ("saved.py", "dataset.py", "__init__.py"):
        (saved / name).write_text(code)


def lance_table(folder, mark):
    pa = pytest.importorskip("pyarrow")
    lists = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 3)
    pytest.importorskip("lance").write_dataset(pa.table({"v": lists}), str(folder / "x.lance"))
    for name in ("x.lance/checkpoint", "x.lance/data/x.pkl", ".x.lance.checkpoint"):
        (folder / name).write_bytes(pickled(mark))


PLANTED = {
    "npy of objects": npy_of_objects,
    "npy that is a pickle": npy_that_is_a_pickle,
    "npz of objects": npz_of_objects,
    "npz with a pickle": npz_with_a_pickle,
    "notes of Parquet and Arrow": parquet_with_notes,
    "HDF5": hdf5_of_opaque,
    "Zarr": zarr_with_a_pickling_codec,
    "saved dataset": saved_dataset,
    "Lance": lance_table,
    "safetensors": named("x.safetensors"),
    "fvecs": named("x.fvecs"),
    "word vectors": named("x.vec"),
    "torch .bin": torch_file(".bin"),
    "torch .pt": torch_file(".pt"),
    "torch in .npz": torch_file(".npz"),
    "torch in .safetensors": torch_file(".safetensors"),
    "joblib": named("x.joblib"),
    "pickle": named("x.pkl"),
}


@pytest.mark.parametrize("what", PLANTED)
def test_rows_are_read_and_no_code_is_run(tmp_path, mark, what):
    folder = tmp_path / "data"
    folder.mkdir()
    PLANTED[what](folder, mark)
    for source in (*sorted(folder.iterdir()), folder, folder / "*", str(folder / "**/*")):
        for column in (None, "v", "x"):
            try:
                list(open_rows(source, column).blocks())
            except ValueError as error:
                assert "\n" not in str(error)
    assert not mark.exists()


def fit_from_checkpoint(path):
    from isotropy.jobs import stream_moments

    stream_moments(path.with_name("rows.npy"), checkpoint=path)


def load_corrector(path):
    from isotropy import Whitening

    Whitening.load(path)


def load_moments(path):
    from isotropy import Moments

    Moments.load(path)


def load_map(path):
    from isotropy import AffineMap

    AffineMap.load(path)


def export_into_an_index(path):
    pytest.importorskip("faiss")
    from isotropy import Whitening
    from isotropy.export.faiss import write_index

    rows = np.random.default_rng(0).normal(size=(20, 3))
    write_index(Whitening().fit(rows), path.with_name("out.index"), index=path)


def apply_into_a_folder(path):
    from isotropy import Whitening
    from isotropy.jobs import correct
    from isotropy.jobs.journal import JOURNAL

    out = path.with_name("out")
    out.mkdir()
    (out / JOURNAL).write_bytes(path.read_bytes())
    rows = np.random.default_rng(0).normal(size=(20, 3))
    correct(Whitening().fit(rows), path.with_name("rows.npy"), f"{out}/")


LOADERS = [
    fit_from_checkpoint, load_corrector, load_moments, load_map, export_into_an_index,
    apply_into_a_folder,
]  # fmt: skip


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize("write", [named("planted"), torch_file("")], ids=["pickle", "torch"])
def test_what_was_saved_is_loaded_and_no_code_is_run(tmp_path, mark, load, write):
    folder = tmp_path / "data"
    folder.mkdir()
    np.save(folder / "rows.npy", X)
    write(folder, mark)
    path = folder / "planted"
    if (folder / "x").exists():
        (folder / "x").rename(path)
    with pytest.raises((ValueError, FileNotFoundError)):
        load(path)
    assert not mark.exists()


def folder_of_weights_as_a_pickle(folder, mark):
    """An encoder whose weights are torch's pickle, in the place of safetensors."""
    weights = folder / "model.safetensors"
    weights.unlink()
    pytest.importorskip("torch").save({"x": Payload(mark)}, folder / "pytorch_model.bin")


def folder_with_modules_of_its_own(folder, mark):
    code = f"import pathlib\npathlib.Path({str(mark)!r}).touch()\nclass Evil: pass\n"
    (folder / "evil.py").write_text(code)
    modules = json.loads((folder / "modules.json").read_text())
    modules.append({"idx": len(modules), "name": "evil", "path": "", "type": "evil.Evil"})
    (folder / "modules.json").unlink()
    (folder / "modules.json").write_text(json.dumps(modules))


def folder_with_a_model_of_its_own(folder, mark):
    code = f"import pathlib\npathlib.Path({str(mark)!r}).touch()\nclass Evil: pass\n"
    (folder / "modeling_evil.py").write_text(code)
    config = json.loads((folder / "config.json").read_text())
    names = ("AutoConfig", "AutoModel", "AutoTokenizer")
    config |= {"model_type": "evil", "auto_map": dict.fromkeys(names, "modeling_evil.Evil")}
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps(config))


ENCODERS = [
    folder_of_weights_as_a_pickle, folder_with_modules_of_its_own, folder_with_a_model_of_its_own
]  # fmt: skip


@pytest.mark.parametrize("change", ENCODERS)
def test_encoders_are_loaded_and_no_code_of_their_folder_is_run(tmp_path, mark, change):
    pytest.importorskip("sentence_transformers")
    from isotropy.encoders import bundled_minilm, check, encode

    folder, whole = tmp_path / "encoder", bundled_minilm()
    for file in (file for file in whole.rglob("*") if file.is_file()):
        link = folder / file.relative_to(whole)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    change(folder, mark)
    for read in (lambda: encode(str(folder), ["a text"]), lambda: check(folder)):
        with pytest.raises(Exception, match=r"\w"):
            read()
        assert not mark.exists()
