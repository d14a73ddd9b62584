"""Exporting: each target is run and compared, and nothing is left half-written."""

import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import tlcore as tl
from tlcore.exporting import exporting, images, targets
from tlcore.exporting.exporting import export_run
from tlcore.exporting.images import calibration_files, compared_files
from tlcore.exporting.targets import TARGETS, find_target
from tlcore.runs.runner import RunOptions, run_recipe

pytestmark = [pytest.mark.tensorflow, pytest.mark.matrix]  # a model is trained


def quiet(_line):
    pass


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exporting")
    tl.write_sample_splits(folder, classes=3, per_class=10, size=32)
    return folder


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    recipe = tl.RECIPES["model_2"].changed(
        backbone="sample_net",
        image_size=32,
        percent=100.0,
        epochs=4,
        learning_rate=0.02,
    )
    out = tmp_path_factory.mktemp("runs")
    return run_recipe(recipe, data, RunOptions(out=out, say=quiet)).path


def of_each_target():
    return [
        pytest.param(
            name,
            marks=[
                # A converter takes seconds.
                *([pytest.mark.matrix] if name != "savedmodel" else ()),
            ],
        )
        for name in TARGETS
    ]


def installed(name):
    try:
        find_target(name).check_installed()
    except ValueError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("to", of_each_target())
def test_an_export_predicts_the_same_and_says_how(to, run, data, tmp_path, monkeypatch):
    installed(to)
    found = export_run(run, to, tmp_path / "out", say=quiet)
    assert found.passed
    assert found.difference <= 1e-5
    assert (found.agreement.value, found.agreement.n) == (1.0, 30)
    assert sorted(x.name for x in tmp_path.iterdir()) == ["out"]
    names = {x.name for x in found.folder.iterdir()}
    assert names == {find_target(to).file, "README.md", "contract.json", "check.json"}
    contract = json.loads((found.folder / "contract.json").read_text())
    assert contract["input"]["shape"] == [None, 32, 32, 3]
    assert contract["classes"] == sorted(x.name for x in (data / "test").iterdir())
    check = json.loads((found.folder / "check.json").read_text())
    assert check["nbytes"] == found.nbytes > 10_000

    # What the README says is run as it stands there.
    text = (found.folder / "README.md").read_text()
    code = "\n".join(x[4:] for x in text.splitlines() if x.startswith("    "))
    monkeypatch.chdir(found.folder)
    picture = next((data / "test").rglob("*.png"))
    Image.open(picture).convert("RGB").save("photo.jpg", quality=100)
    names = {}
    exec(code, names)
    model = tl.load_model(run / "model.keras")
    expected = model.predict_on_batch(names["images"])
    np.testing.assert_allclose(names["outputs"], expected, atol=1e-5)


@pytest.mark.matrix
def test_8_bits_are_smaller_and_are_judged_by_the_classes(run, tmp_path):
    installed("litert")
    floats = export_run(run, "litert", tmp_path / "floats", say=quiet)
    found = export_run(run, "litert", tmp_path / "int8", int8=True, say=quiet)
    assert found.nbytes < floats.nbytes / 2
    assert found.difference > floats.difference
    assert found.passed == (found.agreement.value >= exporting.AGREEMENT)
    how = found.quantization
    assert (how.images, how.corrected, how.uncorrected, how.in_float) == (
        30,
        13,
        (),
        (),
    )
    text = (found.folder / "README.md").read_text()
    assert "in 8 bits" in text
    assert "30 images that are not compared\nbelow: the images that the run was" in text
    for name in ("contract.json", "check.json"):
        said = json.loads((found.folder / name).read_text())["quantization"]
        assert (said["images"], said["corrected"]) == (30, 13)
    assert floats.quantization is None
    assert "8 bits" not in (floats.folder / "README.md").read_text()


@pytest.mark.matrix
def test_an_export_that_differs_has_not_passed(run, tmp_path, monkeypatch):
    def load(target, path):
        rows = targets.load(target, path)
        return lambda images: rows(images)[:, ::-1]

    monkeypatch.setattr(exporting, "load", load)
    found = export_run(run, "savedmodel", tmp_path / "out", say=quiet)
    assert not found.passed
    assert json.loads((found.folder / "check.json").read_text())["passed"] is False


@pytest.mark.parametrize(
    "where", ["write", pytest.param("load", marks=pytest.mark.matrix)]
)
def test_what_fails_leaves_nothing(where, run, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting, where, broken)
    with pytest.raises(OSError, match="No space left"):
        export_run(run, "savedmodel", tmp_path / "deep" / "out", say=quiet)
    assert list((tmp_path / "deep").iterdir()) == []


def test_an_operation_that_a_target_lacks_is_named(run, tmp_path, monkeypatch):
    def export(*_, **__):
        raise RuntimeError("Op CholeskyGrad is not supported\nand more")

    monkeypatch.setattr(keras.Model, "export", export)
    match = r"cannot be exported to savedmodel.*converter says: Op CholeskyGrad"
    with pytest.raises(ValueError, match=match) as refused:
        export_run(run, "savedmodel", tmp_path / "out", say=quiet)
    assert "and more" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_named_with_its_line(run, tmp_path, monkeypatch):
    lacking = replace(TARGETS["onnx"], packages={"no_such_module": "onnx-thing"})
    monkeypatch.setitem(TARGETS, "onnx", lacking)
    with pytest.raises(ValueError, match=r"Run: pip install onnx-thing"):
        export_run(run, "onnx", tmp_path / "out", say=quiet)


@pytest.mark.matrix
def test_images_of_ones_own_are_taken(run, data, tmp_path):
    own = data / "validation"
    found = export_run(run, "savedmodel", tmp_path / "out", images=own, say=quiet)
    assert found.agreement.n == len(list(own.rglob("*.png")))


@pytest.mark.parametrize(
    ("to", "options", "message"),
    [
        ("onx", {}, r"to must be one of.*Did you mean 'onnx'"),
        ("savedmodel", {"int8": True}, r"8 bits are for litert"),
        ("savedmodel", {"images": "{tmp}"}, r"compared on real images.*--images DIR"),
        (
            "litert",
            {"calibrate": "{tmp}"},
            r"8 bits are calibrated.*'{tmp}' without int8",
        ),
    ],
)
def test_wrong_input_is_refused(run, tmp_path, to, options, message):
    given = {
        k: v.format(tmp=tmp_path) if isinstance(v, str) else v
        for k, v in options.items()
    }
    message = message.replace("{tmp}", re.escape(str(tmp_path)))
    with pytest.raises(ValueError, match=message):
        export_run(run, to, tmp_path / "out", say=quiet, **given)
    assert not (tmp_path / "out").exists()


def test_8_bits_are_set_by_the_training_images_and_no_image_is_both(run, data):
    trained = sorted(map(str, (data / "train").rglob("*.png")))
    tested = compared_files(run, None)
    found = calibration_files(run, None, compared=tested)
    assert sorted(found.files) == trained
    assert not set(found.files) & set(tested)
    own = data / "test"
    found = calibration_files(run, own, compared=tested[1:])
    assert (found.source, len(found.files)) == (str(own), 1)
    assert Path(found.files[0]) == Path(tested[0])


def test_copies_of_what_is_compared_are_left_out(run, data, tmp_path):
    tested = compared_files(run, None)
    shutil.copy(tested[0], tmp_path / "copy.png")
    message = r"others than those.*Received: 30 images to compare on, and no others"
    with pytest.raises(ValueError, match=message):
        calibration_files(run, tmp_path, compared=tested)


def test_calibration_images_that_are_missing_are_asked_for(run, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty', a folder without any.*--calibrate"):
        calibration_files(run, tmp_path / "empty", compared=[])
    monkeypatch.setattr(images, "load_run_data", lambda _run: None)
    match = r"whose training images are not there any more\. Name.*--calibrate DIR"
    with pytest.raises(ValueError, match=match):
        calibration_files(run, None, compared=[])


@pytest.mark.parametrize("change", ["gone", "of an earlier version"])
def test_training_images_that_cannot_be_found_are_none(run, tmp_path, change):
    document = json.loads((run / "run.json").read_text())
    if change == "gone":
        document["options"]["data"] = str(tmp_path / "gone")
    else:
        del document["options"]
    (tmp_path / "run.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"training images are not there any more"):
        calibration_files(tmp_path, None, compared=[])


def test_images_are_spread_over_the_classes(run, data, monkeypatch):
    monkeypatch.setattr(images, "MAX_IMAGES", 20)
    found = compared_files(run, None)
    counts = Counter(Path(path).parent.name for path in found)
    assert len(found) == 20
    assert set(counts.values()) == {6, 7}


def test_test_images_that_are_gone_are_said(run, data, tmp_path):
    table = (run / "predictions.csv").read_text()
    gone = table.splitlines()[1].split(",")[0]
    (tmp_path / "predictions.csv").write_text(table.replace(gone, f"{gone}.gone"))
    said = []
    assert len(compared_files(tmp_path, None, said.append)) == 29
    (line,) = said
    assert line.startswith("1 of the 30 test images are not there any more")


@pytest.mark.parametrize("text", ["imago,truth\na.png,b\n", "image\n\n,\n"])
def test_a_table_of_predictions_that_is_damaged_is_refused(tmp_path, text):
    (tmp_path / "predictions.csv").write_text(text)
    with pytest.raises(ValueError, match=r"column of images.*damaged.*--images DIR"):
        compared_files(tmp_path, None)


def test_a_path_may_hold_the_end_of_a_line(tmp_path):
    odd = tmp_path / "a\u2028b.png"
    odd.touch()
    (tmp_path / "predictions.csv").write_text(f"image,truth\n{odd},b\n")
    assert compared_files(tmp_path, None) == (str(odd),)


def test_a_folder_that_is_there_is_not_touched(run, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match=r"folder of its own, that is not there yet"):
        export_run(run, "savedmodel", tmp_path / "out", say=quiet)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.matrix
def test_the_command_prints_the_comparison(run, tmp_path, capsys, monkeypatch):
    from tlcore.cli.main import main

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["export", str(run), "--to", "savedmodel"])
    out, _ = capsys.readouterr()
    assert ended.value.code == 0
    assert "the same class: 1.0000 (n=30" in out
    (folder,) = (tmp_path / "exports").iterdir()
    assert re.fullmatch(r"model_2-\d{8}-\d{6}-savedmodel", folder.name)
    with pytest.raises(SystemExit) as ended:
        main(["export", str(run), "--to", "savedmodel"])
    assert ended.value.code == 2
    assert "not there yet" in capsys.readouterr()[1]
