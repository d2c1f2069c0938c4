"""One object in several threads: no row is lost, and nobody sees half of a state."""

import copy
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cases import CORRECTORS, LEARNERS, fitted, learn_on
from sklearn.base import clone

from isotropy import AutoCorrector, Moments, Whitening
from isotropy.encoders import MultiVectorCorrector
from isotropy.tables import CORRECTORS as TABLE

pytestmark = pytest.mark.filterwarnings("ignore")

EVERY = list({type(corrector): corrector for corrector in [*LEARNERS, *CORRECTORS]}.values())
STEPS = 60


def each(correctors):
    """One of each class; flows train for a second."""
    return pytest.mark.parametrize(
        "made",
        [
            pytest.param(
                corrector,
                id=type(corrector).__name__,
                marks=pytest.mark.slow if "Flow" in type(corrector).__name__ else (),
            )
            for corrector in correctors
        ],
    )


@pytest.fixture(autouse=True)
def threads_that_switch_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def at_once(*works):
    """Call all of them at the same time, each in a thread; what they give."""
    gate = threading.Barrier(len(works))

    def work(one):
        gate.wait()
        return one()

    with ThreadPoolExecutor(len(works)) as pool:
        return [done.result() for done in [pool.submit(work, one) for one in works]]


def parts(n_threads=8):
    return np.random.default_rng(0).normal(size=(n_threads, 20, 5, 6)) * np.arange(1, 7) + 9


def same_moments(found, wanted):
    assert found.n_rows == wanted.n_rows
    for part in ("mean", "scatter", "third", "unit_sum"):
        np.testing.assert_allclose(getattr(found, part), getattr(wanted, part), rtol=1e-9)


@pytest.mark.parametrize("how", ["update", "merge", "both"])
def test_moments_fed_by_several_threads_hold_every_row(how):
    total, given = Moments(), parts()

    def feed(mine, number):
        nonlocal total
        for piece in mine:
            if how == "update" or (how == "both" and number % 2):
                total.update(piece)
            else:
                total += Moments().update(piece)

    at_once(*(lambda mine=mine, i=i: feed(mine, i) for i, mine in enumerate(given)))
    same_moments(total, Moments().update(given.reshape(-1, 6)))


def test_moments_that_are_fed_merge_into_one_another_without_a_deadlock():
    one, other = Moments().update(parts()[0, 0]), Moments().update(parts()[1, 0])
    at_once(
        *(lambda: [one._absorb(other) for _ in range(5)],) * 2,
        *(lambda: [other._absorb(one) for _ in range(5)],) * 2,
    )
    assert one.n_rows > 5 and other.n_rows > 5


PAIR = np.array([[0.0, 3.0], [2.0, 3.0]])  # any number of such pairs has variance 1 and mean 1


def _half(moments):
    """What does not hold of moments of whole pairs."""
    values, vectors = moments.spectrum(0)
    wanted = {
        "covariance": np.allclose(moments.covariance(0), [[1, 0], [0, 0]]),
        "second moment": np.allclose(moments.second_moment(), [[2, 3], [3, 9]]),
        "spectrum": np.allclose(values, [1, 0]) and np.allclose(vectors, np.eye(2)),
        "packed": moments.pack()[1]["scatter"][0, 0] == moments.pack()[0]["total_weight"]
        or moments.n_rows != 2 * STEPS,
    }
    return [rule for rule, holds in wanted.items() if not holds]


@pytest.mark.parametrize(
    "way",
    [
        lambda moments, path: moments,
        lambda moments, path: moments.copy(),
        lambda moments, path: copy.deepcopy(moments),
        lambda moments, path: pickle.loads(pickle.dumps(moments)),
        lambda moments, path: moments.save(path) or Moments.load(path),
        lambda moments, path: Moments.unpack(*moments.pack()),
    ],
    ids=["itself", "copy", "deepcopy", "pickle", "save", "pack"],
)
def test_what_reads_moments_while_they_are_fed_sees_whole_updates(way, tmp_path):
    moments = Moments().update(PAIR)
    done = threading.Event()

    def feed():
        for _ in range(STEPS):
            moments.update(PAIR)
        done.set()

    def read():
        found = []
        while not (found or done.is_set()):
            found = _half(way(moments, tmp_path / "moments.safetensors"))
        return found

    assert at_once(feed, read)[1] == []
    assert moments.n_rows == 2 * STEPS + 2
    np.testing.assert_allclose(moments.spectrum(0)[0], [1, 0])


def rows(seed, n=60, shift=3.0):
    return np.random.default_rng(seed).normal(size=(n, 6)) * np.arange(1, 7) + shift


def test_every_corrector_is_tried():
    assert {type(corrector) for corrector in EVERY} >= set(TABLE.values()) - {
        TABLE["flow-gaussianizer"]
    }


@each(corrector for corrector in EVERY if hasattr(corrector, "partial_fit"))
@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
def test_partial_fits_at_once_lose_no_row(made, first):
    found, given = clone(made), [rows(seed) for seed in range(4)]
    if first:
        fitted(found, rows(9))
    at_once(*(lambda X=X: learn_on(found, X) for X in given))
    everything = np.concatenate([rows(9)] * first + given)
    assert found.n_samples_seen_ == len(everything)
    same = Moments(unit="none").update(everything)
    if found.moments_.normalize is False:
        np.testing.assert_allclose(found.moments_.mean, same.mean, rtol=1e-9)


@each(EVERY)
def test_a_transform_beside_fits_is_by_one_of_them(made):
    found, X = clone(made), rows(0, 5)
    wanted = []
    for seed in (1, 2):
        kept = fitted(clone(made), rows(seed))
        wanted.append(kept.transform(X))
    fitted(found, rows(1))
    done = threading.Event()

    def refit(seed):
        for _ in range(3):
            fitted(found, rows(seed))
        done.set()

    def apply():
        seen = []
        while not done.is_set():
            seen.append(found.transform(X))
        return seen

    for seen in at_once(lambda: refit(1), lambda: refit(2), apply)[2]:
        assert any(np.allclose(seen, one, atol=1e-6) for one in wanted)
    assert any(np.allclose(found.transform(X), one, atol=1e-6) for one in wanted)


def test_what_learns_may_be_copied_and_sent():
    corrector = Whitening().fit(rows(0))
    for twin in (copy.copy(corrector), copy.deepcopy(corrector), clone(corrector)):
        twin.fit(rows(1))
    sent = pickle.loads(pickle.dumps(corrector)).partial_fit(rows(1))
    assert (sent.n_samples_seen_, corrector.n_samples_seen_) == (120, 60)


def test_a_refused_fit_beside_others_changes_nothing():
    corrector, bad = Whitening().fit(rows(0)), rows(1)
    bad[7, 2] = np.nan
    before = dict(vars(corrector))
    for refused in (corrector.fit, corrector.partial_fit):
        with pytest.raises(ValueError, match="row 7"):
            refused(bad)
        assert vars(corrector) == before


def test_documents_that_come_in_several_threads_are_all_counted():
    corrector = MultiVectorCorrector()
    at_once(*(lambda s=s: corrector.partial_fit(list(rows(s).reshape(6, 10, 6))) for s in range(4)))
    assert (corrector.n_documents_, corrector.n_tokens_) == (24, 240)


def test_queries_about_several_means_at_once():
    corrector = AutoCorrector().fit(rows(0))
    means = [rows(seed, shift=9.0) for seed in range(6)]
    wanted = [copy.deepcopy(corrector).for_queries(Q).transform(Q) for Q in means]
    found = at_once(*(lambda Q=Q: corrector.for_queries(Q).transform(Q) for Q in means))
    np.testing.assert_allclose(found, wanted)
