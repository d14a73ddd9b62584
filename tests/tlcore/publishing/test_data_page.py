"""The page of a data check: pictures of what looks wrong, and nothing else."""

import base64
import io
import os
import re
import shutil

import pytest
from PIL import Image

from tlcore.data.data_check import check_data
from tlcore.data.sample_images import write_sample_images
from tlcore.publishing import data_page
from tlcore.publishing.data_page import render, write_data_page


@pytest.fixture
def folder(tmp_path):
    write_sample_images(tmp_path / "photos", classes=2, per_class=4, size=32)
    return tmp_path / "photos"


def first(folder):
    return min(folder.glob("*/*.png"))


def test_a_page_without_findings_says_so(folder):
    page = render(check_data(folder))
    assert "<h1>photos</h1>" in page
    assert "nothing is wrong" in page
    assert "<img" not in page


def test_the_folder_one_is_in_has_its_name_as_the_title(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert "<h1>photos</h1>" in render(check_data("."))


def test_copies_stand_together_and_bad_files_with_their_reason(folder):
    shutil.copy(first(folder), first(folder).with_name("copy.png"))
    first(folder).with_name("bad.jpg").write_text("<script>alert(1)</script>")
    page = render(check_data(folder))
    assert '<p class="bad">2 findings</p>' in page
    assert page.count("<img") == 2
    assert page.count('<li class="copies">') == 1
    assert re.search(r"bad\.jpg: <span class=\"bad\">not a ", page)


def test_it_loads_and_runs_nothing_and_does_not_say_where_it_was_made(folder):
    evil = folder / "<img src=x onerror=alert(1)>"
    evil.mkdir()
    Image.new("RGB", (8, 8), "blue").save(evil / "a.png")
    page = render(check_data(folder))
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page
    assert "<img src=x" not in page
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)
    assert str(folder.parent) not in page


def test_control_characters_in_names_are_shown(folder, tmp_path):
    nasty = os.fsdecode(b"a\x1b[31m\xe2\x80\xae\xff.png")
    shutil.copy(first(folder), first(folder).with_name(nasty))
    write_data_page(tmp_path / "page.html", check_data(folder))
    page = (tmp_path / "page.html").read_text("utf-8")
    assert r"a\x1b[31m\u202e\udcff.png" in page


def test_pictures_are_upright_small_and_without_metadata(folder):
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a secret place"
    wide = Image.new("RGB", (400, 200), "red")
    wide.save(folder / "wide.jpg", exif=exif)
    (folder / "wide.jpg").rename(first(folder).with_name("wide.jpg"))
    picture = data_page._picture(str(first(folder).with_name("wide.jpg")))
    data = base64.b64decode(picture.partition(",")[2])
    assert b"secret" not in data
    assert Image.open(io.BytesIO(data)).size == (80, 160)


def test_of_many_files_some_are_shown(folder, monkeypatch):
    monkeypatch.setattr(data_page, "MOST_GROUPS", 2)
    for index in range(5):
        first(folder).with_name(f"z{index}.png").touch()
    assert "and 3 more; <code>tlcore check-data --json" in render(check_data(folder))


def test_a_picture_that_is_gone_is_left_out(folder):
    assert data_page._picture(str(folder / "none.png")) == ""


def test_a_page_appears_whole_or_not_at_all(folder, tmp_path, monkeypatch):
    write_data_page(tmp_path / "page.html", check_data(folder))
    before = (tmp_path / "page.html").read_text()

    def broken(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(data_page, "render", broken)
    with pytest.raises(KeyboardInterrupt):
        write_data_page(tmp_path / "page.html", check_data(folder))
    assert (tmp_path / "page.html").read_text() == before
