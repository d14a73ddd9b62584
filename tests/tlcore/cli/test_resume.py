"""`tlcore run --resume`: which run goes on, and what it takes on the command line."""

import json
import shutil

import pytest


@pytest.mark.matrix
def test_a_run_gets_more_epochs_and_prints_its_json(tlcore, run_path, tmp_path):
    name = f"model_3/{run_path.name}"
    path = shutil.copytree(run_path, tmp_path / name)
    before = len(json.loads((path / "run.json").read_text())["history"]["epoch"])
    options = ("--fine-tune-epochs", "3", "--out", tmp_path, "--json")
    code, text, err = tlcore("run", "--resume", name, *options)
    assert code == 0, err
    document = json.loads(text)
    assert document["history"]["epoch"] == list(range(before + 2))
    assert document == json.loads((path / "run.json").read_text())


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
def test_what_it_refuses(words, sentence, tlcore, run_path):
    out = run_path.parent.parent
    named = [f"model_3/{run_path.name}" if x == "NAME" else x for x in words]
    code, _, err = tlcore("run", *named, "--out", out)
    assert code == 2
    assert sentence in err
    assert "Traceback" not in err
