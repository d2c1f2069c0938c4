"""The report: what it says, that it holds all it needs, and that it draws in a real browser."""

import html
import json
import re
import shutil
import subprocess
import warnings

import numpy as np
import pytest

from isotropy import MeanRemoval, Moments, RankWarning, RotationGaussianizer, Whitening
from isotropy.cli import main
from isotropy.encoders import LayerProfile
from isotropy.metrics import group_gap
from isotropy.report import report
from isotropy.scoring import intervals

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


def rows(n=300, d=12, seed=0, mean=1.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) * np.linspace(2, 0.3, d) + mean


def data_of(page):
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(found.group(1))


@pytest.fixture(scope="module")
def whole():
    texts = [f"text {k} & <b>co</b>" for k in range(300)]
    texts[7] = "</script><script>alert(1)</script>"
    moments = tuple(Moments.from_rows(rows(seed=k)) for k in range(3))
    profile = LayerProfile("some", moments, moments, ("mean_cosine",))
    X = rows()
    X[5:9] = X[7] + 0.01 * rows(4, mean=0)  # near one another
    return report(X, texts=texts, against=rows(200, seed=4, mean=2), profile=profile, title="A <b>")


def test_the_verdict_speaks_of_the_numbers(whole):
    raw = whole.comparison["raw"]
    first, second, *_ = whole.verdict
    assert first.startswith(f"Mean cosine {raw['mean_cosine']:.2f}")
    assert f"some {raw['effective_rank']:.0f} of 12 dimensions" in second
    assert any("have moved" in sentence for sentence in whole.verdict)
    calm = report(rows(mean=0))
    assert "there is no cone" in calm.verdict[0] and "leave them alone" in calm.verdict[-1]
    cone = report(rows(mean=3))
    assert "look alike" in cone.verdict[0] and "only the task can say" in cone.verdict[-1]


def test_groups_get_figures_and_a_colour_each():
    X, g = rows(), np.arange(300) % 10
    X[g == 3] += 4
    given = [f"<{k}>" if k else None for k in g]
    made = report(X, {"centred": MeanRemoval()}, groups=given)
    assert made.groups["raw"] == group_gap(X.astype(np.float32), given)
    assert list(made.groups) == ["raw", "centred"]
    assert any(sentence.startswith("Groups lie apart") for sentence in made.verdict)
    page = made.to_html()
    drawn = data_of(page)["groups"]
    assert len(drawn["names"]) == 8 and drawn["names"][0] == ["<1>", 30]
    assert drawn["of"][:10] == [-1, 0, 1, 2, 3, 4, 5, 6, 7, -1]
    assert ">Groups</h2>" in page and "270 rows in 9 groups" in page
    assert "own group in 10-NN" in made.to_markdown()
    calm = report(rows(), {}, groups=g % 2)
    assert "Groups do not lie apart beyond chance." in calm.verdict
    assert ">Groups</h2>" not in report(rows(), {}).to_html()


def test_groups_of_other_length_are_told_before_anything_is_written(tmp_path, capsys):
    np.save(tmp_path / "rows.npy", rows(60))
    (tmp_path / "groups.txt").write_text("a\nb\n" * 30)
    call = ["report", str(tmp_path / "rows.npy"), "-o", str(tmp_path / "page.html"), "--groups"]
    (tmp_path / "few.txt").write_text("a\n")
    for name, code in (("few.txt", 2), ("groups.txt", 0)):
        assert not (tmp_path / "page.html").exists()
        with pytest.raises(SystemExit) as ended:
            main([*call, str(tmp_path / name), "-c", "mean-removal"])
        assert ended.value.code == code
    assert "holds 1 labels" in capsys.readouterr().err
    assert "in 2 groups" in (tmp_path / "page.html").read_text("utf-8")


def test_intervals_are_those_of_the_rows(whole):
    X = rows(mean=0.5)
    made = report(X)
    assert made.intervals["isoscore"] == intervals(X, ["isoscore"], n_groups=20)["isoscore"]
    assert whole.intervals["mean_cosine"].low < whole.comparison["raw"]["mean_cosine"]


def test_the_page_holds_all_it_needs(whole):
    page = whole.to_html()
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    assert "default-src 'none'" in page
    assert "<title>A &lt;b&gt;</title>" in page
    assert "alert(1)</script>" not in page and page.count("</script>") == 2
    assert "$" not in re.sub(r"<script>.*?</script>", "", page, flags=re.S).replace("$(", "")
    data = data_of(page)
    assert list(data["spectra"]) == list(whole.comparison.scorecards)
    assert len(data["texts"]) == len(data["projections"]["raw"]) == 300
    assert sum(data["cosines"]["raw"]) == pytest.approx(1, abs=0.01)
    assert data["hubs"][0]["count"] == whole.hubness.counts.max()
    assert len(data["layers"]["token"]) == 3
    values = np.linalg.eigvalsh(np.cov(rows(), rowvar=False))
    assert data_of(report(rows()).to_html())["spectra"]["raw"][0][1] == pytest.approx(
        values[-1] / values.sum(), rel=1e-3
    )
    for heading in ("Verdict", "Against the reference", "Pictures", "Scorecard", "Hubs"):
        assert f">{heading}</h2>" in page


def test_many_rows_are_thinned_and_the_file_stays_small():
    made = report(rows(25_000, 40))
    page = made.to_html()
    assert len(data_of(page)["projections"]["raw"]) == 1500 and len(page) < 500_000
    assert made.comparison["raw"].shape == (25_000, 40) and made.hubness.n == 20_000


def test_correctors_of_one_s_own():
    given = {
        "centred": MeanRemoval(),
        "RBIG": RotationGaussianizer(max_layers=1),
        "cut": Whitening("pca", n_components=3),
    }
    made = report(rows(), given)
    assert list(made.comparison.scorecards) == ["raw", *given]
    assert "RBIG: mean cosine" in " ".join(made.verdict)
    assert not hasattr(given["centred"], "affine_map_")


def test_each_corrector_is_fitted_once():
    fits = []

    class Watched(Whitening):
        def _solve(self, moments):
            fits.append(self)
            return super()._solve(moments)

    made = report(rows(), {"white": Watched(), "half": Watched(power=0.5)})
    assert len(fits) == 2
    assert made.comparison.correctors["white"].transform(rows()).std() == pytest.approx(1, abs=0.01)


def test_no_number_is_outside_its_range():
    X = rows(80, 60, mean=0)  # in-sample estimates pass their ideal before they are taken back
    made = report(X)
    for card in made.comparison.scorecards.values():
        for name, found in card.scores.items():
            assert np.isnan(found.value) or found.low <= found.value <= found.high, name
    for name, held in made.intervals.items():
        assert np.isnan(held.low) or held.low <= made.comparison["raw"][name] <= held.high, name
    assert "fitted on" in made.to_html() and "fitted on" in made.to_markdown()


@pytest.mark.parametrize(
    "kind", ["all the same", "zero", "one column", "few", "float16", "integers"]
)
def test_hard_rows(kind):
    X = {
        "all the same": np.ones((30, 4)),
        "zero": np.zeros((30, 4)),
        "one column": rows(30, 1),
        "few": rows(3, 9),
        "float16": rows().astype(np.float16),
        "integers": (rows() * 10).astype(int),
    }[kind]
    page = report(X).to_html()
    assert "NaN" not in json.dumps(data_of(page)) and "Verdict" in page


def test_markdown_and_notebooks(whole, tmp_path):
    said = whole.save(tmp_path / "r.md").read_text()
    assert said.startswith("## A <b>") and "| metric | raw |" in said and "have moved" in said
    assert "<h3>A &lt;b&gt;</h3>" in whole._repr_html_() and "raw" in str(whole)
    whole.save(tmp_path / "r.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.html", "r.md"]


def test_a_page_that_cannot_be_written_leaves_nothing(whole, tmp_path):
    (tmp_path / "r.html").mkdir()
    with pytest.raises(ValueError, match="is a folder"):
        whole.save(tmp_path / "r.html")
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]


def test_wrong_input_is_named():
    for call, what in [
        (lambda: report(rows(2)), "three rows"),
        (lambda: report(rows(), texts=["a"]), "a text for each"),
        (lambda: report(rows(), {"raw": MeanRemoval()}), "'raw'"),
        (lambda: report(rows(), against=rows(9, 5)), "dimensions"),
        (lambda: report(np.full((5, 2), np.nan)), "NaN"),
    ]:
        with pytest.raises(ValueError, match=what):
            call()


def test_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", rows())
    (tmp_path / "t.txt").write_text("\n".join(f"line {{k}} {k}" for k in range(300)))
    Moments.from_rows(rows(seed=3)).save("m.safetensors")
    with pytest.raises(SystemExit) as done:
        options = ["--texts", "t.txt", "--against", "m.safetensors", "-c", "whitening:power=0.5"]
        main(["report", "x.npy", "-o", "r.html", *options])
    assert not done.value.code
    out = capsys.readouterr().out
    assert out.startswith("Mean cosine") and "Written to r.html" in out
    assert (
        "x.npy" in (tmp_path / "r.html").read_text()
        and "line {k} 3" in (tmp_path / "r.html").read_text()
    )
    with pytest.raises(SystemExit) as done:
        main(["report", "missing.npy", "-o", "r2.html"])
    assert done.value.code == 2 and not (tmp_path / "r2.html").exists()
    with pytest.raises(SystemExit) as done:
        main(["report", "x.npy", "-o", "r2.html", "--model", "minilm"])
    assert done.value.code == 2 and "--model needs --texts" in capsys.readouterr().err


def test_the_command_of_drift(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", rows())
    np.save("b.npy", rows(seed=1, mean=2))
    with pytest.raises(SystemExit) as done:
        main(["drift", "a.npy", "b.npy", "--json"])
    assert not done.value.code
    told = json.loads(capsys.readouterr().out)
    assert told["moved"] is True and told["mean_shift"] > 0.3


def seen_in_a_browser(path, profile):
    """What a browser makes of a page, and what it complains of."""
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        f"--user-data-dir={profile}",
        "--enable-logging=stderr",
    ]
    done = subprocess.run(
        [BROWSER, *options, "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    assert "CONSOLE" not in done.stderr  # neither errors nor refused requests
    return done.stdout


@pytest.mark.skipif(BROWSER is None, reason="needs a Chromium")
def test_a_real_browser_draws_it(whole, tmp_path):
    found = seen_in_a_browser(whole.save(tmp_path / "r.html"), tmp_path / "profile")
    assert found.count("<circle") == 300
    assert found.count("<svg") == 4 and found.count('type="checkbox"') == 5


@pytest.mark.skipif(BROWSER is None, reason="needs a Chromium")
def test_controls_and_keys_work_in_a_real_browser(whole, tmp_path):
    clicks = """<script>
    const tip = document.getElementById("tip"), lines = () =>
      document.querySelectorAll("#spectrum path[stroke]").length;
    const press = (plot, key) => document.querySelector(plot + " svg").dispatchEvent(
      new KeyboardEvent("keydown", { key }));
    const told = [lines()];
    document.querySelectorAll("#chosen input")[1].click(); told.push(lines());
    document.querySelectorAll("#chosen input")[0].click(); told.push(lines());
    press("#projection", "ArrowRight"); told.push(tip.textContent);
    press("#projection", "Escape"); told.push(tip.hidden);
    press("#layers", "ArrowLeft"); told.push(tip.textContent);
    document.querySelectorAll("#chosen input").forEach(box => box.checked && box.click());
    told.push(lines());
    document.body.dataset.told = JSON.stringify(told);
    </script></body>"""
    path = tmp_path / "r.html"
    path.write_text(whole.to_html().replace("</body>", clicks), encoding="utf-8")
    found = seen_in_a_browser(path, tmp_path / "profile")
    told = json.loads(html.unescape(re.search(r'data-told="(.*?)"', found).group(1)))
    assert told[:3] == [3, 4, 3]  # the floor, and a line for each that is chosen
    assert told[3].startswith("text ") and told[4] is True
    assert told[5].startswith("pooled, layer 2") and told[6] == 1


def test_warnings_of_other_threads_are_theirs(monkeypatch):
    """What the report leaves out is not left out by a filter of the whole process."""
    X = np.random.default_rng(0).normal(size=(40, 4))
    X[:, 3] = X[:, 0]
    seen, solve = [], Whitening._solve

    def watch(self, moments):
        seen.append(list(warnings.filters))
        return solve(self, moments)

    monkeypatch.setattr(Whitening, "_solve", watch)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RankWarning)
        filters = list(warnings.filters)
        report(X, {"white": Whitening()})
        assert seen and all(found == filters for found in seen)
        with pytest.raises(RankWarning):
            Whitening().fit(X)
