"""Exports run in the library they are for, and give what the corrector gives."""

import inspect
import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    RobustScaler,
    StandardScaler,
)

from isotropy import (
    AffineMap,
    ComponentRemoval,
    FlowGaussianizer,
    MeanRemoval,
    Whitening,
    export,
)
from isotropy.cli import main
from isotropy.io import FileError
from isotropy.tables import TARGETS

KINDS = {
    "mean": MeanRemoval(),
    "components": ComponentRemoval(2),
    "whitening": Whitening("zca"),
    "truncated": Whitening("pca", n_components=4, power=0.5),
    "unit before": Whitening(normalize="before"),
    "unit after": ComponentRemoval(1, normalize="after"),
    "unit both": Whitening("pca", n_components=3, normalize="both"),
}


def rows(n=60, d=8, mean=3.0, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, d)) * np.linspace(0.5, 2, d) + mean).astype(np.float32)


@pytest.fixture(params=KINDS)
def fitted(request):
    return clone(KINDS[request.param]).fit(rows(300))


def close(found, wanted, atol=2e-6):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=atol * max(1, np.abs(wanted).max()))


# -- faiss -------------------------------------------------------------------------------------


def test_faiss_transforms_give_what_the_corrector_gives(fitted):
    pytest.importorskip("faiss")
    X = rows()
    Y = X
    for transform in export.to_faiss(fitted):
        assert transform.is_trained
        Y = transform.apply(Y)
    close(Y, fitted.transform(X))


def test_an_index_behind_the_correction_finds_what_corrected_vectors_find(fitted, tmp_path):
    faiss = pytest.importorskip("faiss")
    documents, queries = rows(200, seed=1), rows(9, seed=2)
    flat = faiss.IndexFlatIP(fitted.affine_map_.n_features_out)
    flat.add(fitted.transform(documents))
    wanted = flat.search(fitted.transform(queries), 5)
    # A drop-in: the index of corrected vectors stays, raw queries come in.
    kept = export.prepend(flat, fitted)
    # And from the start.
    fresh = export.prepend(faiss.IndexFlatIP(flat.d), fitted)
    fresh.add(documents)
    faiss.write_index(fresh, str(tmp_path / "index"))
    for index in (kept, fresh, faiss.read_index(str(tmp_path / "index"))):
        assert index.d == 8
        scores, found = index.search(queries, 5)
        np.testing.assert_array_equal(found, wanted[1])
        np.testing.assert_allclose(scores, wanted[0], rtol=1e-4, atol=1e-4)


def test_a_far_mean_loses_nothing_in_float32_faiss_and_onnx():
    pytest.importorskip("faiss")
    onnxruntime = pytest.importorskip("onnxruntime")
    X = rows(300, mean=2000.0)
    corrector = Whitening().fit(X)
    wanted = corrector.transform(X)
    Y = X
    for transform in export.to_faiss(corrector):
        Y = transform.apply(Y)
    session = onnxruntime.InferenceSession(export.to_onnx(corrector).SerializeToString())
    (Z,) = session.run(None, {"embeddings": X})
    for found in (Y, Z):
        # The mean itself is rounded to float32: half a spacing of 2,000, over the least spread.
        np.testing.assert_allclose(found, wanted, atol=2 * np.spacing(np.float32(2000)) / 0.5)
    (dense,) = export.to_dense(corrector)
    through = X @ dense.linear.weight.detach().numpy().T + dense.linear.bias.detach().numpy()
    assert np.abs(through - wanted).max() > np.abs(Z - wanted).max()


_PREPENDED = """
import gc, sys
import faiss, numpy as np
from isotropy import Whitening, export

X = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32) + 3
corrector = Whitening(normalize="both").fit(X)
Y = corrector.transform(X)
for recipe in ("Flat", "PCA8,Flat", "PCA8,L2norm,Flat", "RR8,Flat", "IDMap,Flat"):
    made = faiss.index_factory(16, recipe)
    made.train(Y)
    made.add(Y) if not recipe.startswith("IDMap") else made.add_with_ids(Y, np.arange(300))
    faiss.write_index(made, sys.argv[1])
    for index in (made, faiss.read_index(sys.argv[1])):
        kept, wanted = type(index), index.search(Y[:9], 4)
        whole = export.prepend(index, corrector)
        again = export.prepend(whole, corrector.affine_map_)
        found = whole.search(X[:9], 4)
        assert (found[1] == wanted[1]).all(), recipe
        np.testing.assert_allclose(found[0], wanted[0], atol=1e-4)
        back = faiss.deserialize_index(faiss.serialize_index(whole))
        assert (back.search(X[:9], 4)[1] == wanted[1]).all(), recipe
        # What the user gave searches as it did, and for as long as anybody needs it.
        assert index.d == 16 and type(index) is kept
        assert (index.search(Y[:9], 4)[1] == wanted[1]).all(), recipe
        del index
        gc.collect()
        assert (whole.search(X[:9], 4)[1] == wanted[1]).all(), recipe
        again.search(X[:9], 4)
        del whole, again
        gc.collect()
print("alive")
"""


def test_the_index_given_stays_as_it_was_and_nothing_is_freed_twice(tmp_path):
    # In a process of its own: an index that owns a transform of ours ends it.
    pytest.importorskip("faiss")
    done = subprocess.run(
        [sys.executable, "-c", _PREPENDED, str(tmp_path / "index")], capture_output=True, text=True
    )
    assert done.stdout == "alive\n", (done.returncode, done.stderr)


def test_an_index_of_another_width_is_refused():
    faiss = pytest.importorskip("faiss")
    with pytest.raises(ValueError, match=r"holds vectors of 5 dimensions, but .* 8 -> 8"):
        export.prepend(faiss.IndexFlatIP(5), MeanRemoval().fit(rows()))


# -- ONNX --------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [0, 1, 7])
def test_onnx_runs_with_any_batch(fitted, batch, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    export.to_onnx(fitted, tmp_path / "map.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "map.onnx"))
    X = rows(7)[:batch]
    (found,) = session.run(["corrected"], {"embeddings": X})
    assert found.shape == (batch, fitted.affine_map_.n_features_out)
    if batch:
        close(found, fitted.transform(X))
    told = session.get_modelmeta().custom_metadata_map
    assert told["corrector"] == type(fitted).__name__


def test_onnx_holds_removed_directions_and_no_square_matrix():
    pytest.importorskip("onnx")
    X = rows(300, 64)
    thin = export.to_onnx(ComponentRemoval(1).fit(X)).ByteSize()
    assert thin < 64 * 64 * 4 / 4 < export.to_onnx(Whitening().fit(X)).ByteSize()


# -- plain files -------------------------------------------------------------------------------


def reader():
    """The reader that the documentation shows."""
    text = (
        inspect.getdoc(export.to_safetensors).partition("numpy::\n")[2].partition("\nExamples")[0]
    )
    return textwrap.dedent(text)


def test_the_reader_of_the_documentation_reads_without_isotropy(fitted, tmp_path):
    export.to_safetensors(fitted, tmp_path / "map.safetensors")
    X = rows()
    np.save(tmp_path / "X.npy", X)
    script = reader() + textwrap.dedent("""
        import sys
        sys.modules["isotropy"] = sys.modules["safetensors"] = None
        parts, X = read("map.safetensors"), np.load("X.npy")
        before, after = parts["normalize"]
        if before:
            X = X / np.linalg.norm(X, axis=1, keepdims=True)
        Y = X @ parts["matrix"] + parts["bias"]
        np.testing.assert_allclose(
            (X - parts["mean"]) @ parts["matrix"] + parts["offset"], Y, atol=1e-4
        )
        if after:
            Y = Y / np.linalg.norm(Y, axis=1, keepdims=True)
        np.save("Y.npy", Y)
    """)
    assert len([line for line in reader().splitlines() if line.strip()]) <= 13
    subprocess.run([sys.executable, "-I", "-c", script], cwd=tmp_path, check=True)
    close(np.load(tmp_path / "Y.npy"), fitted.transform(X), atol=1e-5)


def test_npz_holds_the_same_arrays(fitted, tmp_path):
    from safetensors.numpy import load_file

    export.to_safetensors(fitted, tmp_path / "a.safetensors", dtype=np.float64)
    export.to_npz(fitted, tmp_path / "a.npz", dtype=np.float64)
    arrays = load_file(tmp_path / "a.safetensors")
    with np.load(tmp_path / "a.npz") as file:
        assert set(file) == set(arrays)
        for name in arrays:
            np.testing.assert_array_equal(file[name], arrays[name])
    close(arrays["mean"] @ arrays["matrix"] + arrays["bias"], arrays["offset"], atol=1e-12)


def test_normalize_can_be_overruled(tmp_path):
    corrector = MeanRemoval().fit(rows())
    export.to_npz(corrector, tmp_path / "a.npz", normalize=True)
    assert np.load(tmp_path / "a.npz")["normalize"].tolist() == [0, 1]
    assert len(export.to_dense(corrector, normalize=True)) == 2


@pytest.mark.parametrize("write", [export.to_npz, export.to_safetensors])
def test_numbers_that_do_not_fit_the_type_are_refused(write, tmp_path):
    corrector = MeanRemoval().fit(rows(mean=1e6))
    with pytest.raises(ValueError, match="bias and mean does not fit into float16"):
        write(corrector, tmp_path / "a", dtype=np.float16)
    with pytest.raises(ValueError, match="dtype must be a floating type"):
        write(corrector, tmp_path / "a", dtype=int)
    assert not list(tmp_path.iterdir())


# -- sentence-transformers modules ---------------------------------------------------------------


def test_dense_modules_give_what_the_corrector_gives(fitted):
    torch = pytest.importorskip("torch")
    pytest.importorskip("sentence_transformers")
    X = rows()
    features = {"sentence_embedding": torch.from_numpy(X)}
    for module in export.to_dense(fitted):
        assert type(module).__module__.startswith("sentence_transformers.")
        features = module(features)
    close(features["sentence_embedding"].detach().numpy(), fitted.transform(X), atol=1e-5)


def test_a_torch_module_keeps_its_numbers_through_a_state_dict(fitted):
    torch = pytest.importorskip("torch")
    X = torch.from_numpy(rows())
    module = fitted.to_torch()
    other = fitted.to_torch()
    for value in other.state_dict().values():
        value.zero_()
    assert not torch.allclose(other(X), module(X))
    other.load_state_dict(module.state_dict())
    torch.testing.assert_close(other(X), module(X))
    close(module(X).numpy(), fitted.transform(X.numpy()))


# -- what cannot be exported -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["to_dense", "to_faiss", "to_onnx"])
def test_only_fitted_affine_maps_are_exported(name):
    with pytest.raises(NotFittedError):
        getattr(export, name)(Whitening())
    with pytest.raises(ValueError, match="only an affine map fits"):
        getattr(export, name)(FlowGaussianizer())
    with pytest.raises(ValueError, match="got ndarray"):
        getattr(export, name)(np.eye(3))


def test_nothing_half_written_remains(tmp_path):
    with pytest.raises(FileError, match="does not exist; make it first"):
        export.to_npz(MeanRemoval().fit(rows()), tmp_path / "no" / "a.npz")
    pytest.importorskip("onnx")
    with pytest.raises(FileError, match="is a folder"):
        export.to_onnx(MeanRemoval().fit(rows()), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", ["faiss", "onnx"])
def test_a_missing_extra_is_named(module):
    script = f"""
import sys
sys.modules["{module}"] = None
import numpy as np
from isotropy import MeanRemoval, export
try:
    export.to_{module}(MeanRemoval().fit(np.eye(3)))
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "pip install 'isotropy[export]'" in done.stdout, done.stderr


# -- imports -----------------------------------------------------------------------------------

ESTIMATORS = {
    "scaler": StandardScaler(),
    "scaler without mean": StandardScaler(with_mean=False),
    "scaler without scale": StandardScaler(with_std=False),
    "robust scaler": RobustScaler(),
    "robust scaler without centre": RobustScaler(with_centering=False),
    "robust scaler without scale": RobustScaler(with_scaling=False),
    "scaler to a range": MinMaxScaler((-3, 5)),
    "scaler by the largest": MaxAbsScaler(),
    "pca": PCA(3),
    "whitened pca": PCA(whiten=True),
    "incremental": IncrementalPCA(4, whiten=True),
    "svd": TruncatedSVD(3, algorithm="arpack"),
    "pipeline": make_pipeline(StandardScaler(), "passthrough", PCA(5), PCA(2, whiten=True)),
    "ours": make_pipeline(MeanRemoval(), Whitening("pca", n_components=3)),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_map_taken_from_scikit_learn_does_the_same(name):
    X = rows(80).astype(np.float64)
    if "scaler" in name:
        X[:, 2] = 7  # a constant column, which the scaler leaves alone
    estimator = ESTIMATORS[name].fit(X)
    affine = AffineMap.from_sklearn(estimator)
    np.testing.assert_allclose(affine.apply(X), estimator.transform(X), atol=1e-9)


@pytest.mark.parametrize(
    ("estimator", "error", "message"),
    [
        (PCA(2), NotFittedError, "not fitted"),
        (Whitening(), NotFittedError, "not fitted"),
        (MinMaxScaler(clip=True).fit(rows()), ValueError, "clips"),
        (Normalizer().fit(rows()), ValueError, "Normalizer is not known to be an affine map"),
        (make_pipeline(StandardScaler(), Normalizer()).fit(rows()), ValueError, "Normalizer"),
        (Pipeline([("none", "passthrough")]), ValueError, "no step"),
        (Whitening(normalize="after").fit(rows()), ValueError, "without normalization"),
    ],
    ids=[
        "unfitted",
        "ours unfitted",
        "clips",
        "not affine",
        "not affine in a pipeline",
        "empty",
        "normalizes",
    ],
)
def test_what_is_no_affine_map_is_refused(estimator, error, message):
    with pytest.raises(error, match=message):
        AffineMap.from_sklearn(estimator)


def test_a_map_taken_from_faiss_does_the_same(fitted):
    faiss = pytest.importorskip("faiss")
    X = rows(600)
    transforms = [
        faiss.PCAMatrix(8, 4, -0.5),
        faiss.RandomRotationMatrix(8, 8),
        faiss.OPQMatrix(8, 2),
        faiss.CenteringTransform(8),
    ]
    for transform in transforms:
        transform.train(X)
        found = AffineMap.from_faiss(transform).apply(X.astype(np.float64))
        np.testing.assert_allclose(found, transform.apply(X), atol=1e-4)
    for transform in export.to_faiss(MeanRemoval().fit(X)):
        assert AffineMap.from_faiss(transform).n_features_in == 8


def test_faiss_transforms_that_are_no_affine_map_are_refused():
    faiss = pytest.importorskip("faiss")
    with pytest.raises(ValueError, match="PCAMatrix is not trained"):
        AffineMap.from_faiss(faiss.PCAMatrix(4, 2))
    with pytest.raises(ValueError, match="NormalizationTransform is not an affine map"):
        AffineMap.from_faiss(faiss.NormalizationTransform(4))
    itq = faiss.ITQTransform(4, 4, False)
    itq.train(rows(400, 4))
    with pytest.raises(ValueError, match="ITQTransform scales each row"):
        AffineMap.from_faiss(itq)


# -- the command -------------------------------------------------------------------------------


@pytest.fixture
def run(capsys):
    def call(*words):
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        return stop.value.code or 0, *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corrector")
    Whitening().fit(rows(100)).save(folder / "w.safetensors")
    return folder / "w.safetensors"


@pytest.mark.parametrize("to", TARGETS)
def test_the_command_writes_every_format(run, saved, to, tmp_path):
    out = tmp_path / "out"
    code, told, errors = run("export", saved, "--to", to, "-o", out, "--json")
    assert code == 0, errors
    assert json.loads(told)["format"] == to
    X, wanted = rows(), Whitening.load(saved).transform(rows())
    if to == "faiss":
        faiss = pytest.importorskip("faiss")
        index = faiss.read_index(str(out))
        index.add(X)
        close(index.search(X, 1)[0][:, 0], (wanted @ wanted.T).max(1), atol=1e-4)
    elif to == "dense":
        assert (out / "0_Dense" / "model.safetensors").is_file()
    else:
        assert out.stat().st_size > 8 * 8 * 4


def test_the_command_puts_a_correction_before_an_index(run, saved, tmp_path):
    faiss = pytest.importorskip("faiss")
    X = rows()
    flat = faiss.IndexFlatIP(8)
    flat.add(Whitening.load(saved).transform(X))
    faiss.write_index(flat, str(tmp_path / "old"))
    words = ["--to", "faiss", "--index", tmp_path / "old", "-o", tmp_path / "n"]
    code, _, errors = run("export", saved, *words)
    assert code == 0, errors
    index = faiss.read_index(str(tmp_path / "n"))
    assert index.ntotal == len(X)
    assert index.search(X[:5], 1)[1].shape == (5, 1)


def test_the_command_refuses_in_one_line(run, saved, tmp_path):
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(saved.read_bytes()[:200])
    cases = [
        (
            ["export", saved, "--to", "gguf", "-o", tmp_path / "x"],
            "No export target is named 'gguf'",
        ),
        (["export", damaged, "--to", "npz", "-o", tmp_path / "x"], "damaged.safetensors"),
        (
            ["export", saved, "--to", "npz", "--index", saved, "-o", tmp_path / "x"],
            "index is for",
        ),
        (["export", saved, "--to", "faiss", "--index", saved, "-o", tmp_path / "x"], "not a faiss"),
        (["export", saved, "--to", "dense", "-o", tmp_path], "not an empty folder"),
    ]
    for words, message in cases:
        code, _, errors = run(*words)
        assert code == 2
        assert message in errors
        assert len(errors.strip().splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged.safetensors"]
