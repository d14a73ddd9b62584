"""`tlcore predict` of a folder: truth by the names of folders, files, refusals."""

import csv
import json
import shutil

import pytest

PICTURES = ["calibration.png", "confusion.png", "mistakes.png"]


def lines(path):
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture
def photos(data, tmp_path):
    return shutil.copytree(data / "test", tmp_path / "photos")


def test_the_figures_of_the_run_come_again(tlcore, run_path, data, tmp_path):
    targets = "--csv", tmp_path / "p.csv", "--pictures", tmp_path / "pictures"
    code, out, err = tlcore("predict", data / "test", "--run", run_path, *targets)
    assert (code, err) == (0, "")
    final = json.loads((run_path / "run.json").read_text())["final"]["test_accuracy"]
    assert f"accuracy {final['value']:.4f} (n={final['n']}," in out
    rows = lines(tmp_path / "p.csv")
    assert sum(row["right"] == "True" for row in rows) == final["value"] * final["n"]
    assert sorted(x.name for x in (tmp_path / "pictures").iterdir()) == PICTURES
    assert f"written: {tmp_path / 'p.csv'}" in out


def test_as_json_every_image_and_figure_is_there(tlcore, run_path, photos):
    code, out, _ = tlcore("predict", photos, "--run", run_path, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["n"] == len(found["images"]) == 12
    assert [each["images"] for each in found["per_class"]] == [4, 4, 4]
    assert sum(map(sum, found["confusion"])) == 12


def test_images_that_cannot_be_read_are_listed_and_the_rest_goes_on(
    tlcore, run_path, photos, tmp_path
):
    bad = next(photos.rglob("*.png"))
    bad.write_bytes(bad.read_bytes()[:50])
    arguments = photos, "--run", run_path, "--csv", tmp_path / "p.csv"
    code, out, err = tlcore("predict", *arguments)
    assert code == 0
    assert f"cannot be read: {bad} (" in err
    assert "(n=11," in out
    *_, last = lines(tmp_path / "p.csv")
    assert last["image"] == str(bad)
    assert last["problem"]


def test_a_folder_without_labels_has_predictions_only(
    tlcore, run_path, photos, tmp_path
):
    for number, path in enumerate(sorted(photos.rglob("*.png"))):
        path.rename(photos / f"{number}.png")
    for folder in [path for path in photos.iterdir() if path.is_dir()]:
        folder.rmdir()
    arguments = photos, "--run", run_path, "--csv", tmp_path / "p.csv"
    code, out, _ = tlcore("predict", *arguments)
    assert code == 0
    assert "predictions only" in out
    assert "truth" not in (tmp_path / "p.csv").read_text()
    code, _, err = tlcore("predict", *arguments[:3], "--pictures", tmp_path / "x")
    assert code == 2
    assert "needs images whose class is known" in err


def test_one_class_of_several_is_enough(tlcore, run_path, photos):
    for folder in sorted(photos.iterdir())[1:]:
        shutil.rmtree(folder)
    code, out, _ = tlcore("predict", photos, "--run", run_path)
    assert code == 0
    assert "(n=4," in out


def test_heat_maps_stand_where_their_images_do(tlcore, run_path, photos, tmp_path):
    maps = tmp_path / "maps"
    code, out, _ = tlcore("predict", photos, "--run", run_path, "--heat-maps", maps)
    assert code == 0
    assert f"written: {maps}" in out
    drawn = {str(path.relative_to(maps)) for path in maps.rglob("*.png")}
    names = {str(path.relative_to(photos)) for path in photos.rglob("*.png")}
    assert drawn == {f"{name}.png" for name in names}


def test_heat_maps_of_files_have_their_names(tlcore, run_path, photos, tmp_path):
    files = sorted(photos.rglob("000.png"))
    arguments = "--run", run_path, "--heat-maps", tmp_path / "maps"
    code, _, _ = tlcore("predict", files[0], *arguments)
    assert code == 0
    assert [x.name for x in (tmp_path / "maps").iterdir()] == ["000.png.png"]
    code, _, err = tlcore("predict", *files[:2], *arguments)
    assert code == 2
    assert "different names" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{data}"], "must be one split"),
        (["{data}/test", "{data}/train"], "files, or one folder"),
        (["{data}/nowhere"], "nowhere"),
        (["{data}/test", "--csv", "{data}/no/p.csv"], "folder that exists"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_written(
    tlcore, run_path, data, arguments, message
):
    given = [text.format(data=data) for text in arguments]
    code, _, err = tlcore("predict", *given, "--run", run_path)
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_a_table_of_single_files_is_refused(tlcore, run_path, photos, tmp_path):
    file = next(photos.rglob("*.png"))
    arguments = file, "--run", run_path, "--csv", tmp_path / "p.csv"
    code, _, err = tlcore("predict", *arguments)
    assert code == 2
    assert "are for a folder of images" in err


@pytest.mark.parametrize("option", ["--pictures", "--heat-maps"])
def test_pictures_are_not_written_among_the_images(tlcore, run_path, photos, option):
    before = sorted(photos.rglob("*"))
    for target in (photos, photos / "new"):
        code, _, err = tlcore("predict", photos, "--run", run_path, option, target)
        assert code == 2
        assert "Pictures must not be among the images" in err
    assert sorted(photos.rglob("*")) == before


def test_what_is_refused_leaves_no_folder(tlcore, run_path, photos, tmp_path):
    flat, new = tmp_path / "flat", tmp_path / "new"
    flat.mkdir()
    for number, path in enumerate(sorted(photos.rglob("*.png"))):
        path.rename(flat / f"{number}.png")
    code, _, err = tlcore("predict", flat, "--run", run_path, "--pictures", new)
    assert code == 2
    assert "whose class is known" in err
    assert not new.exists()
    new.touch()
    code, _, err = tlcore("predict", flat, "--run", run_path, "--heat-maps", new)
    assert code == 2
    assert "is a file" in err


@pytest.mark.parametrize("top", [0, -1])
def test_a_number_of_mistakes_below_one_is_refused(tlcore, run_path, photos, top):
    code, _, err = tlcore("predict", photos, "--run", run_path, "--top", top)
    assert code == 2
    assert f"top must be a whole number of at least 1. Received: top={top}" in err
