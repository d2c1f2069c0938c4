"""``isotropy advise``: what it prints can be pasted, and its JSON holds the same facts."""

import json
import shlex

import numpy as np
import pytest
from typer.testing import CliRunner

from isotropy import Moments
from isotropy.choose.settings import SETTINGS
from isotropy.cli._correctors import parse_correctors, spelled
from isotropy.cli._files import read_relevant
from isotropy.cli.advise import _made
from isotropy.cli.app import app


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(240, 64)) / np.arange(1, 65) + 3
    np.save("my rows.npy", X)
    np.save("q.npy", rng.normal(size=(50, 64)) / np.arange(1, 65) + 2.8)
    np.savez("two.npz", a=X, b=X[:, :3])

    def run(*words):
        found = CliRunner().invoke(app, [str(word) for word in words])
        assert found.exception is None, found.exception
        return found.output

    return run


@pytest.mark.parametrize(
    "words",
    [
        ["my rows.npy"],
        ["my rows.npy", "--queries", "q.npy", "--task", "search"],
        ["my rows.npy", "--queries", "q.npy", "--dimensions", "5"],
        ["two.npz", "--column", "a", "--task", "similarity"],
        ["folder", "--task", "similarity"],
        ["folder/*.npy", "--task", "similarity"],
        ["my rows.npy", "--task", "similarity", "-o", "c.safetensors"],
        ["my rows.npy", "--queries", "q.npy", "-o", "c.safetensors"],
    ],
    ids=" ".join,
)
def test_the_commands_it_prints_run_when_pasted(run, tmp_path, words):
    (tmp_path / "folder").mkdir()
    for name in ("a.npy", "b.npy"):
        np.save(tmp_path / "folder" / name, np.load("my rows.npy"))
    printed = run("advise", *words).partition("\nNext\n")[2].splitlines()
    pasted = [shlex.split(line, comments=True) for line in printed]
    pasted = [line for line in pasted if line]
    assert pasted and {line[0] for line in pasted} == {"isotropy"}
    for line in pasted:
        run(*line[1:])
        if line[1] == "apply":
            assert (tmp_path / line[-1]).exists()


def test_every_setting_can_be_spelled_on_the_command_line():
    for setting in SETTINGS:
        for dimensions in (None, 3):
            made = _made(setting, dimensions)
            again = next(iter(parse_correctors([spelled(made)]).values()))
            assert type(again) is type(made) and again.get_params() == made.get_params()


def test_json_holds_the_facts_that_the_text_tells(run):
    told = json.loads(run("advise", "my rows.npy", "--queries", "q.npy", "--json"))
    text = run("advise", "my rows.npy", "--queries", "q.npy")
    assert all(finding in text for finding in told["findings"])
    assert all(command in text for command in told["commands"])
    assert [one["task"] for one in told["choices"]][-1] is None
    assert told["figures"]["queries"] == 50


def test_where_nothing_is_to_be_done_nothing_is_to_be_run(run):
    np.save("even.npy", np.random.default_rng(0).normal(size=(300, 64)))
    assert "nothing to run" in run("advise", "even.npy", "--task", "similarity")
    told = run("advise", "even.npy", "--task", "similarity", "-o", "c.safetensors")
    assert "nothing to run" in told and "for similarity: none" in told


def test_labels_of_each_kind_are_read(run, tmp_path):
    (tmp_path / "p.csv").write_text(
        "a,b,s\n" + "".join(f"{k},{k + 1},{k % 9}\n" for k in range(90))
    )
    (tmp_path / "c.txt").write_text("\n".join("ab"[k % 2] for k in range(240)) + "\n")
    (tmp_path / "r.tsv").write_text("".join(f"{k}\t{k}\t2\n" for k in range(50)))
    (tmp_path / "r.jsonl").write_text("".join(f"[{k}]\n" for k in range(50)))
    told = {}
    for words in (
        ["--pairs", "p.csv"],
        ["--classes", "c.txt"],
        ["--queries", "q.npy", "--relevant", "r.tsv"],
        ["--queries", "q.npy", "--relevant", "r.jsonl"],
    ):
        found = json.loads(run("advise", "my rows.npy", "--json", *words))["choices"]
        told[words[-1]] = [one["task"] for one in found if one["labelled"]]
    assert told["p.csv"] == ["similarity"] and told["c.txt"] == ["classes"]
    assert told["r.tsv"] == told["r.jsonl"] == ["search"]


@pytest.mark.parametrize(
    ("name", "text", "words", "said"),
    [
        ("bad.csv", "0,1,2\n0,x,1\n", ["--pairs"], "line 2 is not two row numbers"),
        ("bad.tsv", "0\t1\n77\t1\n", ["--queries", "q.npy", "--relevant"], "line 2 is not the"),
        ("bad.jsonl", "7\n", ["--queries", "q.npy", "--relevant"], "line 1 is not a list"),
        ("r.jsonl", "[1]\n", ["--relevant"], "needs --queries"),
        ("c.txt", "a\nb\n", ["--classes"], "240"),
    ],
)
def test_labels_that_do_not_fit_are_refused_in_a_line(run, tmp_path, name, text, words, said):
    (tmp_path / name).write_text(text)
    found = CliRunner().invoke(app, ["advise", "my rows.npy", *words, name])
    assert found.exit_code and said in str(found.exception)


def test_a_task_that_is_none_is_refused(run):
    found = CliRunner().invoke(app, ["advise", "my rows.npy", "--task", "serach"])
    assert "task must be one of" in str(found.exception)


def test_a_first_line_that_names_no_query_is_told(tmp_path):
    path = tmp_path / "r.tsv"
    path.write_text("query\trow\n0\t3\n")
    assert read_relevant(path, 5)[0] == {3: 1.0}
    path.write_text("99\t3\n0\t3\n")
    with pytest.raises(ValueError, match=r"line 1 is not the numbers .*\(5 queries\)"):
        read_relevant(path, 5)


def test_of_moments_no_rows_are_applied_to(run):
    Moments(unit="sums", sample=1000).update(np.load("my rows.npy")).save("m.safetensors")
    told = run("advise", "m.safetensors", "--task", "classes")
    assert "isotropy fit m.safetensors" in told and "\nisotropy apply" not in told
    assert "# then, with the rows: isotropy apply corrector.safetensors" in told


def test_fit_tells_what_was_chosen_and_why(run):
    told = run("fit", "my rows.npy", "-c", "auto-corrector:task=classes", "-o", "c.safetensors")
    assert "TaperedWhitening(power=0.5): " in told and "nearest neighbours" in told
