"""`tlcore run --resume`: which run goes on, and what it takes on the command line."""

import json

import pytest


@pytest.fixture
def out(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def done(tlcore, data, out, small):
    """A run with one epoch."""
    options = ["--data", data, "--out", out, "--epochs", "1"]
    code, _, err = tlcore("run", "model_0", *small[:2], "--percent=100", *options)
    assert code == 0, err
    (path,) = out.glob("model_0/*")
    return path


def test_a_run_gets_more_epochs_and_prints_its_json(tlcore, done, out):
    name = f"model_0/{done.name}"
    code, text, _ = tlcore(
        *("run", "--resume", name, "--epochs", "2", "--out", out, "--json")
    )
    assert code == 0
    document = json.loads(text)
    assert document["history"]["epoch"] == [0, 1]
    assert document == json.loads((done / "run.json").read_text())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--resume"], "There must be a run that was broken off"),
        (["model_3", "--resume"], "There must be a run of model_3 that was"),
        (["--resume", "NAME"], "goes on only to more epochs"),
        (["--resume", "NAME", "--seed", "1"], "Received: --resume with --seed."),
        (["--resume", "model_0/2026"], "holds no run of that name"),
        (["--resume", "NAME", "--allow-changed", "weights"], "allow_changed must be"),
        ([], "RECIPE is missing"),
        (["model_0"], "--data is missing"),
        (["model_0", "--data", "x", "--allow-changed", "data"], "--resume."),
    ],
)
def test_what_it_refuses(words, sentence, tlcore, done, out):
    named = [f"model_0/{done.name}" if x == "NAME" else x for x in words]
    code, _, err = tlcore("run", *named, "--out", out)
    assert code == 2
    assert sentence in err
    assert "Traceback" not in err
