"""`tlcore find-rate`: its table, the line that it gives, and what it refuses."""

import json
import shlex

import pytest

from tlcore.choosing import recipe_rate
from tlcore.data.sample_images import write_sample_splits
from tlcore.optimizing.rate_curve import growing_rates, read_curve

MODEL = ("--backbone=sample_net", "--image-size=32", "--percent=100")
FIND = ("find-rate", "model_0", *MODEL, "--batch-size", 30, "--seed", 7)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return a folder of 60 training images, two batches."""
    directory = tmp_path_factory.mktemp("data") / "images"
    write_sample_splits(directory, classes=3, per_class=20, test_per_class=2, size=32)
    return directory


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """Be in an empty folder, to see what is left in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_ends_with_a_line_of_run_and_leaves_only_a_picture(tlcore, data, empty):
    code, out, err = tlcore(*FIND, "--data", data, "--picture", "rates.png")
    assert code == 0
    assert "60 images in 3 classes" in err
    *table, sentence, written, line = out.splitlines()
    assert any("1e-07" in row for row in table)
    assert any("suggested" in row for row in table)
    assert written == "written: rates.png"
    assert [path.name for path in empty.iterdir()] == ["rates.png"]
    rate = sentence.split(",")[0].removeprefix("suggested: ")
    assert line.startswith(f"tlcore run model_0 --data {data} --backbone sample_net")
    assert line.endswith(f" --learning-rate {rate}")


@pytest.fixture
def found(monkeypatch):
    """Have a search find something at once."""
    rates = growing_rates(1e-4, 1.0, 41)
    losses = [1 - rate / (rate + 0.01) + 10 * rate for rate in rates]
    search = read_curve(rates, losses, steps=41, diverged_at=None)
    monkeypatch.setattr(recipe_rate, "find_recipe_rate", lambda *_, **__: search)
    return search


def test_the_line_has_the_options_that_were_given(tlcore, found):
    # One of them can be written in two ways, and one is a list.
    options = "--optimizer=sgd", "--mixed-precision", "--stages=2,all", "--skip-bad"
    options = *MODEL, *options, "--fine-tune-epochs=1", "--learning-rate=5"
    code, out, _ = tlcore("find-rate", "model_0", "--data=my photos", *options)
    assert code == 0
    assert shlex.split(out.splitlines()[-1]) == [
        *("tlcore", "run", "model_0", "--data", "my photos"),
        *("--backbone", "sample_net", "--image-size", "32", "--percent", "100"),
        *("--fine-tune-epochs", "1", "--stages", "2,all", "--optimizer", "sgd"),
        *("--precision", "mixed_bfloat16", "--skip-bad"),
        *("--learning-rate", f"{found.suggestion:.2g}"),
    ]


@pytest.mark.matrix
def test_the_line_runs(tlcore, data, empty):
    found = json.loads(tlcore(*FIND, "--epochs=1", "--data", data, "--json")[1])
    code, out, _ = tlcore(*shlex.split(found["command"])[1:], "--json")
    assert code == 0
    rate = json.loads(out)["recipe"]["learning_rate"]
    assert rate == pytest.approx(found["suggestion"], rel=0.05)


@pytest.mark.matrix
def test_fine_tuning_is_searched_after_feature_extraction(tlcore, data, empty):
    options = "--epochs=1", "--fine-tune-epochs=1", "--last=2", "--phase=fine-tuning"
    code, out, err = tlcore(*FIND, "--data", data, *options, "--layer-rates=0.5")
    assert code == 0
    assert "feature_extraction: 1 epochs, as in a run" in err
    assert "epoch 1/1: " in err
    assert list(empty.iterdir()) == []
    *_, sentence, note, line = out.splitlines()
    assert "ten times as high" in note
    rate = float(sentence.split(",")[0].removeprefix("suggested: "))
    assert float(line.split()[-1]) == pytest.approx(10 * rate, rel=0.1)


@pytest.mark.matrix
def test_a_search_without_a_suggestion_says_why(tlcore, data):
    code, out, _ = tlcore(*FIND, "--data", data, "--highest", 1e-6, "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["suggestion"], found["command"]) == (None, None)
    assert found["sentence"].startswith("no suggestion: the loss does not fall")
    assert (found["recipe"], found["phase"]) == ("model_0", "feature_extraction")
    assert len(found["rates"]) == len(found["losses"]) == 100


@pytest.mark.matrix
def test_a_schedule_has_no_part_in_it(tlcore, data):
    both = [
        json.loads(tlcore(*FIND, "--data", data, "--steps=10", *options, "--json")[1])
        for options in ([], ["--schedule=cosine"])
    ]
    assert both[0]["losses"] == both[1]["losses"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps=5"], "steps must be a whole number of at least 10"),
        (["--lowest=1", "--highest=0.1"], "lowest must be below highest"),
        (["--lowest=0"], "lowest must be a positive number. Received: lowest=0.0"),
        (["--phase=fine-tuning"], "--fine-tune-epochs 5 gives it"),
        (["--phase=fine-tunin", "--fine-tune-epochs=5"], "Did you mean 'fine-tuning'"),
        (["--picture=rates.gif2"], "path must end in"),
        (["--optimizer=adamm"], "Did you mean 'adam'"),
        (["--data=nowhere"], "nowhere"),
        (["--views=2"], "views needs a recipe with augmentation"),
        (["--out=runs"], "No such option"),
    ],
)
def test_wrong_input_is_refused_with_a_sentence(tlcore, data, arguments, message):
    code, _, err = tlcore(*FIND, "--data", data, *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
