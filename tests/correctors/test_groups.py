"""Groups with means of their own: exact given the group, harmless where little is known."""

import numpy as np
import pytest
from cases import Blocks
from sklearn import config_context
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import isotropy
from isotropy import CrossMoments, GroupMeanRemoval, GroupWhitening, Moments, Whitening

RNG = np.random.default_rng(0)
N, D = 400, 6
G = RNG.choice(np.array(["de", "en", "fr"]), N, p=[0.6, 0.3, 0.1])
MEANS = {"de": RNG.normal(size=D) * 4, "en": RNG.normal(size=D) * 4, "fr": RNG.normal(size=D) * 4}
BASE = RNG.normal(size=(N, D)) * np.arange(1, D + 1)
X = BASE + np.array([MEANS[g] for g in G]) + 300

MAKERS = [
    GroupMeanRemoval,
    lambda **more: GroupWhitening(0.5, 4, **more),
    lambda **more: GroupWhitening(own=True, **more),
]
each = pytest.mark.parametrize("make", MAKERS, ids=["means", "shared whitening", "own whitening"])


def own_means(rows, groups):
    return np.array([rows[groups == g].mean(0) for g in groups])


def test_without_shrinkage_each_group_loses_its_mean():
    corrector = GroupMeanRemoval(shrinkage=0).fit(X, groups=G)
    np.testing.assert_allclose(corrector.transform(X, groups=G), X - own_means(X, G), atol=1e-10)
    apart = GroupMeanRemoval(shrinkage=0, center=False).fit(X, groups=G)
    wanted = X - own_means(X, G) + X.mean(0)
    np.testing.assert_allclose(apart.transform(X, groups=G), wanted, atol=1e-10)
    half = GroupMeanRemoval(0.5, shrinkage=0).fit(X, groups=G)
    np.testing.assert_allclose(half.transform(X, groups=G), X - own_means(X, G) / 2, atol=1e-10)


def test_whitening_is_by_the_covariance_within_groups():
    found = GroupWhitening(shrinkage=0).fit(X, groups=G).transform(X, groups=G)
    wanted = Whitening().fit(X - own_means(X, G)).transform(X - own_means(X, G))
    np.testing.assert_allclose(found, wanted, atol=1e-8)


def test_shrinkage_is_the_ratio_of_the_variances_that_made_the_rows():
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(400), rng.integers(2, 9, 400))
    rows = rng.normal(size=(len(g), 20)) * 3 + rng.normal(size=(400, 20))[g]
    assert GroupMeanRemoval().fit(rows, groups=g).shrinkage_ == pytest.approx(9, rel=0.1)


def test_means_of_small_groups_are_nearer_to_the_truth():
    rng = np.random.default_rng(2)
    sizes = np.concatenate([np.ones(40, int), np.full(10, 30)])
    truth, g = rng.normal(size=(50, 20)), np.repeat(np.arange(50), sizes)
    rows = truth[g] + 2 * rng.normal(size=(len(g), 20))
    shrunk = np.square(GroupMeanRemoval().fit(rows, groups=g).centers_ - truth).sum(1)
    plain = np.square(GroupMeanRemoval(shrinkage=0).fit(rows, groups=g).centers_ - truth).sum(1)
    assert shrunk[:40].mean() < 0.3 * plain[:40].mean()
    assert shrunk[40:].mean() <= plain[40:].mean() * 1.01


@pytest.mark.parametrize("size", [1, 2])
@each
def test_one_group_of_a_few_rows_does_no_harm(make, size):
    g = np.where(np.arange(N) < size, "few", G)
    with_it = make(unknown="whole").fit(X, groups=g)
    without = make(unknown="whole").fit(X[size:], groups=g[size:])
    a, b = (c.transform(X[size:], groups=g[size:]) for c in (with_it, without))
    assert np.abs(np.abs(a) - np.abs(b)).max() < 0.05 * np.abs(b).max()  # up to signs
    alone = with_it.transform(X[:size], groups=g[:size])
    assert np.isfinite(alone).all()
    if make is GroupMeanRemoval:
        left = np.linalg.norm(X[:size] - with_it.centers_[with_it.groups_.index("few")])
        assert left > 0.1 * np.linalg.norm(X[:size] - X.mean(0))


@each
def test_groups_that_do_not_differ_are_one(make):
    g = np.random.default_rng(1).integers(0, 8, N)
    found = GroupMeanRemoval().fit(BASE, groups=g)
    assert found.shrinkage_ > 50
    made = make(unknown="whole").fit(BASE, groups=g)
    shift = np.abs(made.centers_ - BASE.mean(0)).max()
    assert shift < 0.5 * np.abs(own_means(BASE, g) - BASE.mean(0)).max()


@each
@pytest.mark.parametrize("g", [np.arange(N), np.zeros(N, int)], ids=["one row each", "one group"])
def test_a_group_for_each_row_and_one_for_all_are_the_whole(make, g):
    found = make(unknown="whole").fit(X, groups=g)
    np.testing.assert_allclose(found.centers_, np.tile(X.mean(0), (len(found.groups_), 1)))
    np.testing.assert_allclose(found.transform(X, groups=g), found.transform(X), atol=1e-9)


def test_own_directions_where_there_are_rows_for_them():
    rng = np.random.default_rng(1)
    g = np.repeat(["large", "other", "small"], [3000, 3000, 9])
    rows = rng.normal(size=(6009, 4))
    rows[g == "large"] *= [5, 1, 1, 1]
    rows[g == "other"] *= [1, 1, 1, 5]
    found = GroupWhitening(own=True).fit(rows, groups=g)
    assert (found.own_weights_[:2] > 0.97).all()
    assert found.own_weights_[2] < 0.9
    Y = found.transform(rows, groups=g)
    for name in ("large", "other"):
        np.testing.assert_allclose(np.cov(Y[g == name].T), np.eye(4), atol=0.15)
    shared = GroupWhitening().fit(rows, groups=g).transform(rows, groups=g)
    assert np.abs(np.cov(shared[g == "large"].T) - np.eye(4)).max() > 0.5


# -- unknown groups ------------------------------------------------------------------------------


@each
def test_rows_of_unknown_groups_go_where_they_are_told(make):
    far = np.array([MEANS[g] * 3 for g in G]) + BASE / 9 + 300  # nearest is their own
    wanted = make().fit(far, groups=G).transform(far, groups=G)
    g = G.astype(object)
    g[:3] = [None, np.nan, "unseen"]
    nearest = make(unknown="nearest").fit(far, groups=G)
    np.testing.assert_allclose(nearest.transform(far, groups=g), wanted, atol=1e-9)
    np.testing.assert_allclose(nearest.transform(far), wanted, atol=1e-9)
    whole = make(unknown="whole").fit(far, groups=G)
    found = whole.transform(far, groups=g)
    np.testing.assert_allclose(found[3:], wanted[3:], atol=1e-9)
    np.testing.assert_allclose(found[:3], whole.map_of().apply(far[:3]), atol=1e-9)
    refusing = make(unknown="refuse").fit(far, groups=G)
    with pytest.raises(ValueError, match="row 0 has no group"):
        refusing.transform(far, groups=g)
    with pytest.raises(ValueError, match="row 0 is of a group not seen"):
        refusing.transform(far[2:], groups=g[2:])
    with pytest.raises(ValueError, match="groups is missing"):
        refusing.transform(far)


# -- maps, ways back, files ----------------------------------------------------------------------


@each
def test_the_map_of_a_group_does_what_the_corrector_does(make):
    found = make().fit(X, groups=G)
    for g in ("de", "en", "fr"):
        mine = g == G
        wanted = found.transform(X[mine], groups=G[mine])
        np.testing.assert_allclose(found.map_of(g).apply(X[mine]), wanted, atol=1e-9)
    with pytest.raises(ValueError, match="no group 'it'; there are: 'de', 'en', 'fr'"):
        found.map_of("it")
    with pytest.raises(ValueError, match="no affine map"):
        make(normalize="before").fit(X, groups=G).map_of("de")


@each
def test_there_is_a_way_back(make):
    found = make().fit(X, groups=G)
    Y = found.transform(X, groups=G)
    back = found.inverse_transform(Y, groups=G)
    np.testing.assert_allclose(found.transform(back, groups=G), Y, atol=1e-8)
    if Y.shape == X.shape:
        np.testing.assert_allclose(back, X, atol=1e-8)


@each
@pytest.mark.parametrize("normalize", ["none", "before", "after", "both"])
def test_unit_rows_before_and_after(make, normalize):
    def unit(rows):
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    given = unit(X) if normalize in ("before", "both") else X
    wanted = make().fit(given, groups=G).transform(given, groups=G)
    wanted = unit(wanted) if normalize in ("after", "both") else wanted
    found = make(normalize=normalize).fit(X, groups=G).transform(X, groups=G)
    np.testing.assert_allclose(found, wanted, atol=1e-8)


@each
def test_files_blocks_frames_and_torch(make, tmp_path):
    torch = pytest.importorskip("torch")
    found = make().fit(X, groups=G, queries=X[:50] + 1, query_groups=G[:50])
    wanted = found.transform(X, groups=G)
    found.save(tmp_path / "c")
    loaded = isotropy.load(tmp_path / "c")
    np.testing.assert_array_equal(loaded.transform(X, groups=G), wanted)
    for c in (found, loaded):
        asked = c.transform_queries(X[:9] + 1, groups=G[:9])
        np.testing.assert_array_equal(asked, found.transform_queries(X[:9] + 1, groups=G[:9]))
    lazily = make().fit(Blocks(X), groups=G).transform(Blocks(X), groups=G)
    np.testing.assert_allclose(lazily.in_memory(), wanted, atol=1e-8)
    assert lazily.take([3, 1]).shape == (2, wanted.shape[1])
    Y = found.transform(torch.from_numpy(X.astype("f4")).requires_grad_(), groups=G)
    assert Y.dtype == torch.float32 and Y.requires_grad
    np.testing.assert_allclose(Y.detach().numpy(), wanted, atol=1e-3)
    half = found.transform(X.astype(np.float16), groups=G)
    assert half.dtype == np.float16
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcdef"))
    out = make().set_output(transform="pandas").fit(frame, groups=pandas.Series(G))
    assert out.transform(frame, groups=pandas.Categorical(G)).shape == wanted.shape


@pytest.mark.parametrize("make", MAKERS[:2], ids=["means", "shared whitening"])
def test_parts_and_moments_give_what_the_whole_does(make, tmp_path):
    whole = make().fit(X, groups=G)
    parts, moments = make(), CrossMoments(concept="classes")
    for rows in np.array_split(np.argsort(G, kind="stable"), 4):
        parts.partial_fit(X[rows], groups=G[rows])
        moments = moments + CrossMoments(concept="classes").update(X[rows], z=G[rows])
    for other in (parts, make().fit_moments(moments)):
        np.testing.assert_allclose(other.centers_, whole.centers_, rtol=1e-12)
        a, b = (c.transform(X, groups=G) for c in (other, whole))
        np.testing.assert_allclose(a, b, atol=1e-8)
    whole.save(tmp_path / "c", moments=True)
    loaded = isotropy.load(tmp_path / "c").partial_fit(X[:5], groups=["it"] * 5)
    assert loaded.groups_ == ["de", "en", "fr", "it"] and whole.groups_ == ["de", "en", "fr"]


def test_own_directions_are_learned_from_all_rows_at_once():
    assert not hasattr(GroupWhitening(own=True), "partial_fit")
    assert not hasattr(GroupWhitening(own=True), "fit_moments")
    with pytest.raises(ValueError, match="leave n_components out"):
        GroupWhitening(1.0, 3, own=True).fit(X, groups=G)


# -- queries and routing -------------------------------------------------------------------------


@each
def test_queries_of_a_group_land_where_its_rows_do(make):
    drift = {g: RNG.normal(size=D) * 5 for g in MEANS}
    Q = X + np.array([drift[g] for g in G])
    found = make(shrinkage=0).fit(X, groups=G, queries=Q, query_groups=G)
    wanted = found.transform(X, groups=G)
    np.testing.assert_allclose(found.transform_queries(Q, groups=G), wanted, atol=1e-8)
    later = make(shrinkage=0).fit(X, groups=G)
    for twin in (
        later.for_queries(Q, groups=G),
        later.for_queries(CrossMoments(concept="classes").update(Q, z=G)),
    ):
        np.testing.assert_allclose(twin.transform(Q, groups=G), wanted, atol=1e-8)
        if make is GroupMeanRemoval:
            np.testing.assert_allclose(twin.map_of("de").apply(Q[G == "de"]), wanted[G == "de"])
    one = later.for_queries(Q).transform(Q, groups=G)  # one mean for all of them
    assert np.abs(one[G == "fr"].mean(0)).max() > 0.1


def test_groups_are_routed_through_a_pipeline():
    y = (X[:, 0] > np.median(X[:, 0])).astype(int)
    with config_context(enable_metadata_routing=True):
        corrector = GroupMeanRemoval().set_fit_request(groups=True)
        corrector = corrector.set_transform_request(groups=True)
        pipeline = make_pipeline(corrector, LogisticRegression(max_iter=500))
        pipeline.fit(X, y, groups=G)
        found = pipeline[:1].transform(X, groups=G)
    wanted = GroupMeanRemoval().fit(X, groups=G).transform(X, groups=G)
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    np.testing.assert_allclose(GroupMeanRemoval().fit_transform(X, groups=G), wanted, atol=1e-9)


# -- what is wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "groups", "told"),
    [
        ({}, None, "groups is missing"),
        ({}, G[:-1], "400 rows, but labels of shape"),
        ({}, [None] * N, "No row has a group"),
        ({}, np.column_stack([G, G]), "one label a row"),
        ({"unknown": "skip"}, G, "unknown must be"),
        ({"shrinkage": -1}, G, "shrinkage must be"),
        ({"shrinkage": "much"}, G, "shrinkage must be"),
        ({"strength": np.nan}, G, "strength must be"),
        ({"normalize": "yes"}, G, "normalize must be"),
    ],
)
@each
def test_what_does_not_fit_is_told_in_one_line(make, options, groups, told):
    with pytest.raises(ValueError, match=told) as caught:
        make(**options).fit(X, groups=groups)
    assert "\n" not in str(caught.value)


def test_moments_must_know_the_groups():
    with pytest.raises(TypeError, match="must be CrossMoments"):
        GroupMeanRemoval().fit_moments(Moments().update(X))
    with pytest.raises(ValueError, match="concept='classes'"):
        GroupMeanRemoval().fit_moments(CrossMoments().update(X, z=G))
    found = GroupMeanRemoval().fit(X, groups=G)
    for groups, told in ((G[:-1], "labels of shape"), (np.column_stack([G, G]), "one label a row")):
        with pytest.raises(ValueError, match=told):
            found.transform(X, groups=groups)
    with pytest.raises(ValueError, match="Q, which is missing"):
        found.for_queries(groups=G)


def test_rows_without_a_group_are_left_out_of_the_fit():
    g = np.where(np.arange(N) < 100, None, G)
    found = GroupMeanRemoval().fit(X, groups=g)
    np.testing.assert_allclose(
        found.centers_, GroupMeanRemoval().fit(X[100:], groups=G[100:]).centers_, rtol=1e-12
    )
    w = np.random.default_rng(5).integers(0, 3, N)
    a = GroupWhitening(own=True).fit(X, sample_weight=w, groups=G)
    b = GroupWhitening(own=True).fit(np.repeat(X, w, 0), groups=np.repeat(G, w))
    np.testing.assert_allclose(a.transform(X, groups=G), b.transform(X, groups=G), atol=1e-8)
