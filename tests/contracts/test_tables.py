"""A thing is added by its own file and a line in a table, from outside the library too."""

import subprocess
import sys

import numpy as np
import pytest

import isotropy
from isotropy import MeanRemoval, tables
from isotropy.metrics import METRICS
from isotropy.tables import CORRECTORS, Table, UnknownNameError

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
    with pytest.raises(ModuleNotFoundError):
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
    shapes = Table("metric", {"own": 1}, families=("isotropy.metrics.registry:REGISTERED",))
    assert list(shapes) == [*METRICS, "own"]
    with pytest.raises(ValueError, match="isoscore"):
        Table("metric", families=("isotropy.metrics.registry:REGISTERED",)).add("isoscore", 1)


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
