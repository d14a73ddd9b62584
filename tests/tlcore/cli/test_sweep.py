"""`tlcore sweep`: its table, the line that it gives, and what it refuses."""

import json
import shlex

import pytest

from tlcore.data.sample_images import write_sample_splits

MODEL = ("--backbone=sample_net", "--image-size=32", "--percent=100", "--epochs=2")
LISTS = ("--learning-rates=0.003,0.03", "--dropouts=0,0.4", "--weight-decays=0")
SWEEP = ("sweep", "model_0", *MODEL, "--seed", 7, *LISTS)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    directory = tmp_path_factory.mktemp("data") / "images"
    write_sample_splits(directory, classes=3, per_class=12, test_per_class=5, size=32)
    return directory


def test_it_ends_with_a_line_of_run_and_leaves_only_a_picture(
    tlcore, data, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    code, out, err = tlcore(*SWEEP, "--data", data, "--picture", "sweep.png")
    assert code == 0
    assert "train: cached at pool" in err
    *table, count, best, corrected, test, written, line = out.splitlines()
    assert sum("not told apart" in row or "worse" in row for row in table) == 3
    assert count == "4 tried"
    assert best.startswith("validation: ")
    assert corrected.startswith("validation, corrected for having chosen the best: ")
    assert test.startswith("test: ")
    assert written == "written: sweep.png"
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.png"]
    assert line.startswith(f"tlcore run model_0 --data {data} --backbone sample_net")
    assert " --seed 7" in line


@pytest.mark.matrix
def test_its_line_trains_to_its_figures(tlcore, data, tmp_path):
    code, out, _ = tlcore(*SWEEP, "--data", data, "--lasts=4", "--json")
    assert code == 0
    found = json.loads(out)
    assert len(found["candidates"]) == 5
    best = found["candidates"][0]
    words = shlex.split(found["command"])[1:]
    code, out, _ = tlcore(*words, "--out", tmp_path, "--json")
    assert code == 0
    final = json.loads(out)["final"]
    assert final["val_accuracy"]["value"] == best["accuracy"]["value"]
    loss = pytest.approx(best["loss"]["value"], abs=1e-6)
    assert final["val_loss"]["value"] == loss
    assert final["test_accuracy"]["value"] == found["test"]["accuracy"]["value"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--learning-rates", "1;2"], "Write --learning-rates 0.001,0.01"),
        (["--lasts", "2.5"], "Write --lasts 5,10"),
        (["--lasts", "99"], "at most 31, the layers of"),
        (["--dropouts", "1"], "below 1"),
        (["--head", "dense"], "No such option"),
        (["--early-stopping", "2"], "the same epochs"),
        (["--picture", "x.txt"], "path must end in one of"),
    ],
)
def test_a_wrong_value_is_refused(tlcore, data, arguments, message):
    code, _, err = tlcore(*SWEEP, "--data", data, *arguments)
    assert code == 2
    assert message in err


def test_images_without_validation_are_held_out_on_request(tlcore, data, tmp_path):
    for name in ("train", "test"):
        (tmp_path / name).symlink_to(data / name)
    code, _, err = tlcore(*SWEEP, "--data", tmp_path)
    assert code == 2
    assert "--split validation=20" in err
