"""Sums and products of a pass, on several BLAS threads too, and what they leave as it was."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from isotropy import Moments
from isotropy.rows import products

SHAPES = [(1, 1), (5, 3), (1000, 64), (777, 100), (3000, 65), (2500, 384), (300, 700)]


@pytest.fixture(params=[np.float64, np.float32], ids=["float64", "float32"])
def dtype(request):
    return request.param


@pytest.fixture(autouse=True)
def several_blas_threads(monkeypatch):
    monkeypatch.setattr(products, "blas_threads", lambda: 4)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_products_in_pieces_are_those_in_one(shape, dtype):
    rng = np.random.default_rng(0)
    Y = (rng.normal(size=shape) + 3).astype(dtype)
    wide, w = Y.astype(np.float64), rng.random(len(Y)).astype(dtype)
    near = np.finfo(dtype).eps * 16 * len(Y) ** 0.5
    found, wanted = products.gram(Y), wide.T @ wide
    assert found.dtype == dtype and (found == found.T).all()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=near * np.abs(wanted).max())
    found, wanted = products.weighted_sum(w, Y), w.astype(np.float64) @ wide
    np.testing.assert_allclose(found, wanted, rtol=0, atol=near * np.abs(wanted).max())
    np.testing.assert_allclose(products.times(wide[:50], wide[0]), wide[:50] @ wide[0])


@pytest.mark.parametrize("options", [{"unit": "gram"}, {"normalize": True}], ids=str)
def test_moments_do_not_depend_on_how_products_are_made(options, monkeypatch):
    X, w = np.random.default_rng(1).normal(size=(5000, 70)) + 2, np.arange(5000) % 3
    found = Moments(**options).update(X, w)
    monkeypatch.setattr(products, "blas_threads", lambda: 1)
    wanted = Moments(**options).update(X, w)
    for name in ("scatter", "third", "unit_sum", "unit_square_sum", "unit_gram"):
        one, other = getattr(found, name), getattr(wanted, name)
        if other is not None:
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-13 * np.abs(other).max())


SCRIPT = """
import threading, warnings, os, sys, locale, signal
import numpy as np
from threadpoolctl import threadpool_info
import isotropy
from isotropy.jobs import stream_moments
from isotropy.tables import CORRECTORS

warnings.simplefilter("ignore")
made = list(CORRECTORS.values())  # all are imported before the first look

def state():
    return (
        [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()],
        list(warnings.filters), warnings.showwarning, dict(os.environ), os.getcwd(),
        np.geterr(), locale.setlocale(locale.LC_ALL), signal.getsignal(signal.SIGINT),
        np.random.get_state()[1].tolist(), sys.getswitchinterval(),
    )

X = np.random.default_rng(0).normal(size=(9000, 80)).astype(np.float32)
np.save(sys.argv[1], X)
fitted = isotropy.Whitening().fit(X[:300])
jobs = {
    "moments": lambda: isotropy.Moments(unit="gram").update(X),
    "stream": lambda: stream_moments(sys.argv[1]),
    "fit": lambda: isotropy.Whitening().fit(X),
    "transform": lambda: fitted.transform(X),
    "partial_fit": lambda: fitted.partial_fit(X),
}
before, wrong, at = state(), [], [None]
done = threading.Event()

def look():
    while not done.is_set():
        for name, one, other in zip(range(99), state(), before):
            if one != other:
                wrong.append((at[0], name))
        done.wait(0.001)

watch = threading.Thread(target=look, daemon=True)
watch.start()
for name, job in jobs.items():
    at[0] = name
    job()
done.set()
watch.join()
assert not wrong, sorted(set(wrong))
assert state() == before
assert max(pool["num_threads"] for pool in threadpool_info()) == 2
print("left as it was")
"""


def test_a_job_changes_nothing_of_the_process(tmp_path):
    env = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), str(tmp_path / "rows.npy")],
        env={**env, "OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "left as it was" in done.stdout
