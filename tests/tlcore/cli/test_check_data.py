"""`tlcore check-data`: what it prints, its page and its exit codes."""

import json
import shutil

import pytest
from PIL import Image


@pytest.fixture
def photos(data, tmp_path):
    return shutil.copytree(data, tmp_path / "photos")


def test_nothing_wrong_is_0(tlcore, photos):
    code, out, _ = tlcore("check-data", photos)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("train: 24 images in 3 classes: ")
    assert lines[-1] == "nothing wrong"


def test_a_finding_is_1(tlcore, photos):
    path = next((photos / "train").glob("*/*.png"))
    shutil.copy(path, photos / "test" / path.parent.name / "copy.png")
    code, out, _ = tlcore("check-data", photos)
    assert code == 1
    assert f" = test/{path.parent.name}/copy.png" in out
    assert out.endswith("\n1 finding\n")
    code, out, _ = tlcore("check-data", photos, "--json")
    assert code == 1
    (finding,) = json.loads(out)["findings"]
    assert finding["kind"] == "shared images"


def test_wrong_input_is_2(tlcore, photos):
    code, _, err = tlcore("check-data", photos / "none")
    assert code == 2
    assert "must be a folder that exists" in err
    code, _, err = tlcore("check-data", photos, "--page", photos / "none" / "a.html")
    assert code == 2
    assert "page must be a file in a folder that exists. Received: page=" in err


def test_a_table_of_several_classes_is_checked(tlcore, photos):
    folder = next((photos / "test").iterdir())
    labels = ("a", "a|b", "b|a", "a|b")
    rows = [f"{x.name},{y}" for x, y in zip(folder.iterdir(), labels, strict=True)]
    table = photos / "labels.csv"
    table.write_text("\n".join(["path,label", *rows]))
    code, out, _ = tlcore("check-data", table, "--root", folder, "--multi")
    assert code == 0
    assert out.startswith("images: 4 images in 2 classes: a 4, b 3\n")


def test_the_page_is_written_next_to_what_is_printed(tlcore, photos, tmp_path):
    folder = next((photos / "test").iterdir())
    Image.new("RGB", (9, 9), "red").save(folder / "<b>.png")
    page = tmp_path / "page.html"
    code, out, _ = tlcore("check-data", photos, "--page", page)
    assert code == 1
    assert out.endswith(f"page: {page}\n")
    text = page.read_text("utf-8")
    assert "&lt;b&gt;.png" in text
    assert text.count("data:image/jpeg;base64,") == 1
