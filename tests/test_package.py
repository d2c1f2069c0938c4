"""The package as it is installed: light to import, typed, whole."""

import ast
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

import isotropy

ROOT = Path(isotropy.__file__).parent


@pytest.mark.parametrize(
    "module",
    [f"isotropy{part}" for part in ("", ".cli", ".io", ".encoders", ".metrics", ".report")],
)
def test_importing_loads_neither_torch_nor_plotting_nor_encoders(module):
    heavy = ["torch", "nflows", "sentence_transformers", "transformers", "matplotlib", "plotly"]
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent
    )
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there_and_documented():
    for name in isotropy.__all__:
        assert getattr(isotropy, name) is not None
        if name != "__version__":
            assert getattr(isotropy, name).__doc__, name


def test_names_for_type_checkers_are_the_names_that_are_loaded():
    tree = ast.parse((ROOT / "__init__.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        (node.module, name.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert seen == {(f"isotropy.{home}", name) for name, home in isotropy._HOMES.items()}


def test_parts_are_reachable_after_a_plain_import():
    code = "import isotropy; isotropy.plot, isotropy.report, isotropy.metrics, isotropy.losses"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT.parent)
    with pytest.raises(AttributeError, match="no attribute 'plott'"):
        isotropy.plott  # noqa: B018


def test_the_version_is_that_of_the_installed_package():
    try:
        assert isotropy.__version__ == version("isotropy")
    except PackageNotFoundError:
        assert "unknown" in isotropy.__version__


def test_types_are_shipped():
    assert (ROOT / "py.typed").is_file()


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_the_command_answers(option):
    done = subprocess.run(
        [sys.executable, "-m", "isotropy", option],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT.parent,
    )
    assert "isotropy" in done.stdout
