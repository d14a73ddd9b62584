"""The report on a data folder, an archive or a table."""

import shutil

import pytest
from PIL import Image

from tlcore.data import data_check
from tlcore.data.data_check import check_data
from tlcore.data.splits import load_splits

QUICK = {"image_size": 8, "batch_size": 4, "label_mode": "int"}


def paint(path, colour, *, size=8):
    """Write an image of two colours, one of them white."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (size, size), "white")
    image.paste(colour, (0, 0, size // 2, size))
    image.save(path)


@pytest.fixture
def data(tmp_path):
    """Return a data folder in which nothing is wrong."""
    root = tmp_path / "data"
    for s, split in enumerate(("Training", "val", "Testing")):
        for c, class_name in enumerate(("cat", "dog")):
            for i in range(3):
                paint(root / split / class_name / f"{i}.png", (s * 9, c * 9, i * 9))
    return root


def test_a_good_folder_has_counts_and_no_finding(data):
    report = check_data(data)
    assert str(report) == (
        "splits: train: Training, validation: val, test: Testing\n"
        "train: 6 images in 2 classes: cat 3, dog 3\n"
        "validation: 6 images in 2 classes: cat 3, dog 3\n"
        "test: 6 images in 2 classes: cat 3, dog 3\n"
        "nothing wrong"
    )
    assert report.as_dict()["findings"] == []
    assert report.as_dict()["splits"]["test"]["classes"] == {"cat": 3, "dog": 3}


def test_what_is_wrong_is_reported_with_its_files_and_refuses_nothing(data):
    (data / "Training" / "cat" / "bad.jpg").write_text("no image")
    (data / "val" / "fox").mkdir()
    shutil.copy(data / "val/cat/0.png", data / "Testing/dog/9.png")
    Image.new("RGB", (8, 8), "red").save(data / "Testing/cat/flat.png")
    report = check_data(data)
    assert [finding.kind for finding in report.findings] == [
        "classes",
        "classes",
        "bad images",
        "shared images",
        "contradicting labels",
        "flat images",
    ]
    text = str(report)
    assert "finding: train lacks fox of validation: classes differ\n" in text
    assert "finding: validation: no image in fox\n" in text
    assert "  Training/cat/bad.jpg: not a " in text
    assert "  val/cat/0.png = Testing/dog/9.png\n" in text
    assert text.endswith("\n6 findings")
    (flat,) = (f for f in report.as_dict()["findings"] if f["kind"] == "flat images")
    assert flat["images"] == [["Testing/cat/flat.png"]]


def test_of_many_files_five_are_shown(data):
    for index in range(9):
        (data / "val" / "cat" / f"bad{index}.png").touch()
    report = check_data(data)
    lines = str(report).splitlines()
    assert lines[-2] == "  and 4 more"
    assert len(report.as_dict()["findings"][0]["images"]) == 9


def test_class_folders_an_archive_and_a_table_are_checked_as_well(data, tmp_path):
    classes = data / "Training"
    said = []
    archive = shutil.make_archive(str(tmp_path / "all"), "zip", classes)
    table = [(str(path), path.parent.name) for path in classes.glob("*/*.png")]
    line = "images: 6 images in 2 classes: cat 3, dog 3"
    for source in (classes, archive, table):
        report = check_data(source, say=said.append)
        assert [str(split) for split in report.splits] == [line]
        assert report.findings == ()
    assert len(said) == 1


def test_images_with_several_classes_count_for_each(data):
    names = [str(data / "val" / "cat" / f"{i}.png") for i in range(3)]
    table = dict(zip(names, ["a|b", "a", "b"], strict=True))
    report = check_data(table, multi=True)
    assert report.splits[0].classes == {"a": 2, "b": 2}


def test_a_lone_class_is_a_finding(data):
    shutil.rmtree(data / "val" / "dog")
    report = check_data(data / "val")
    assert str(report.findings[0].text) == "images: one class only, cat"


def test_conversions_and_what_is_left_out_are_counted(data):
    cats = data / "val" / "cat"
    Image.open(cats / "0.png").convert("L").save(cats / "0.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(cats / "1.png").save(cats / "1.png", exif=exif)
    clear = Image.open(cats / "2.png").convert("RGBA")
    clear.putpixel((0, 0), (0, 0, 0, 0))
    clear.save(cats / "2.png")
    pages = [Image.linear_gradient("L").convert("RGB") for _ in "ab"]
    pages[0].save(cats / "3.tif", save_all=True, append_images=pages[1:])
    for name in ("a.txt", "b.txt", "readme"):
        (cats / name).write_text("no image")
    report = check_data(data / "val")
    assert str(report.splits[0]) == (
        "images: 7 images in 2 classes: cat 4, dog 3; 1 RGBA and 1 grey converted to "
        "RGB; 1 with transparent parts put on white; 1 with several frames, of which "
        "the first is read; 1 turned upright; left out: 2 .txt and 1 without a suffix"
    )
    split = report.as_dict()["splits"]["images"]
    assert split["treated"] == {"composed": 1, "first frame": 1, "rotated": 1}
    assert split["left_out"] == {"": 1, ".txt": 2}
    assert report.findings == ()


def test_a_photograph_that_nothing_here_reads_is_a_finding(data):
    (data / "val" / "cat" / "raw.dng").write_bytes(b"II*\0")
    (finding,) = check_data(data / "val").findings
    assert finding.text == "images: 1 .dng is left out"
    (found,) = load_splits(data, **QUICK).findings()
    assert found.text == "validation: 1 .dng is left out"


def test_every_file_is_opened_once(data, monkeypatch):
    opened = []
    check = data_check.check_images

    def recorded(paths):
        opened.extend(paths)
        return check(paths)

    monkeypatch.setattr(data_check, "check_images", recorded)
    check_data(data)
    assert len(opened) == len(set(opened)) == 18


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must be a folder that exists"):
        check_data(tmp_path / "none")
