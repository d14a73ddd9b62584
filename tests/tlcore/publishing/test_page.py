"""Page: what it shows of runs, what it hides, and how a browser draws it."""

import base64
import io
import re
import socket

import pytest
from PIL import Image

from tlcore.publishing.page import PICTURE_PIXELS


@pytest.fixture(scope="module")
def text(page):
    return page.read_text("utf-8")


class TestPage:
    def test_it_is_whole_and_loads_nothing(self, tags_of, text):
        tags = tags_of(text)
        assert tags.open == []
        names = {tag for tag, _ in tags.found}
        assert not names & {"script", "link", "iframe", "object", "form", "base", "a"}
        sources = [a.get("src") or a.get("href") for _, a in tags.found]
        assert all(s.startswith("data:image/") for s in sources if s)
        assert not re.search(r"@import|url\(", text)
        assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in text

    def test_names_are_shown_as_text_and_not_as_markup(self, text):
        assert "<script" not in text
        assert "&lt;script&gt;alert(" in text
        assert "{{ 7 * 7 }}" in text
        assert "49&amp;" not in text

    def test_it_does_not_reveal_who_ran_what_where(self, page, text):
        for path in page.parent.rglob("*"):
            private = ["someone", "secret", "424242", "424,242", str(page.parent)]
            published = f"{path.relative_to(page.parent)}" + (
                path.read_bytes().decode("latin-1") if path.is_file() else ""
            )
            if path == page:
                published = re.sub(r"base64,[^\"]*", "", text)
            assert not [word for word in private if word in published]
            assert f".{socket.gethostname()}." not in path.name

    def test_figures_come_with_interval_and_number(self, text):
        row = text[text.index('<section aria-labelledby="runs">') :]
        assert re.search(r"0\.9500<small>0\.900 to 0\.970</small><small>n=150", row)
        # One image has no interval.
        assert re.search(r"0\.4000<small>n=1<", row)
        assert "110,644" in row

    def test_the_start_of_fine_tuning_is_marked_in_every_chart(self, text):
        assert text.count(">fine-tuning C</text>") == text.count('<svg id="chart-') == 5

    def test_differing_hyperparameters_come_before_equal_ones(self, text):
        part = text[text.index('id="hyperparameters"') :]
        differing, same = part.split("that are the same in every run")[:2]
        assert ">augmentation</th><td>none</td><td>tutorial</td>" in differing
        assert ">seed<" not in differing
        assert ">seed</th><td>42</td>" in same

    def test_pictures_are_in_it_scaled_down_and_without_metadata(self, tags_of, text):
        sources = [a for tag, a in tags_of(text).found if tag == "img"]
        assert len(sources) == 6
        assert all(a["alt"].strip() for a in sources)
        for source in sources:
            data = base64.b64decode(source["src"].split(",")[1])
            with Image.open(io.BytesIO(data)) as image:
                assert max(image.size) <= PICTURE_PIXELS
                assert not set(image.info) & {"Software", "Title", "exif", "comment"}

    def test_headers_and_pictures_have_labels_for_screen_readers(self, tags_of, text):
        tags = tags_of(text)
        ids = [a["id"] for _, a in tags.found if "id" in a]
        assert len(ids) == len(set(ids))
        for tag, attributes in tags.found:
            if tag == "th":
                assert attributes["scope"] in {"row", "col"}
            if tag == "svg" and "aria-hidden" not in attributes:
                assert set(attributes["aria-labelledby"].split()) <= set(ids)
            if tag == "table":
                assert attributes.get("aria-label") or attributes["aria-labelledby"]

    def test_the_same_runs_give_the_same_bytes(self, write, odd, paths, page, tmp_path):
        write(
            paths,
            tmp_path / "p",
            name=f"Three {odd}",
            description=f"On {odd}\nAnd more.",
        )
        for path in sorted(page.parent.rglob("*")):
            other = tmp_path / "p" / path.relative_to(page.parent)
            if path.is_file() and path.name != "published.json":
                assert other.read_bytes() == path.read_bytes()

    def test_runs_of_any_kind_have_a_page(self, begin, train, write, tmp_path):
        begun = begin(tmp_path / "runs")
        nothing = begin(tmp_path / "runs", "model_0")
        nothing.update(data=None, machine=None, phases=None, seed=None)
        for name in ("data", "machine", "phases", "seed"):
            del nothing.document[name]
        nothing.finish("failed", error="OSError: /home/someone/secret")
        diverged = begin(tmp_path / "runs", "model_2")
        train(diverged, 3)
        diverged.update(history={**diverged.document["history"], "loss": [1e200] * 3})
        (diverged.path / "images.png").write_text("no image")
        runs = [begun.path, nothing.path, diverged.path]
        text = write(runs, tmp_path / "page").read_text("utf-8")
        assert "someone" not in text
        assert "images.png of model_2" in text
        assert "chart-loss" not in text
        assert "chart-val-loss" in text

    def test_one_run_has_no_boxes_and_its_details_open(
        self, write, tags_of, paths, tmp_path
    ):
        tags = tags_of(write(paths[:1], tmp_path / "page").read_text("utf-8"))
        assert not [a for tag, a in tags.found if tag == "input"]
        assert all("open" in a for tag, a in tags.found if tag == "details")

    def test_many_runs_have_letters_and_styles(
        self, begin, train, write, tags_of, tmp_path
    ):
        runs = []
        for number in range(30):
            run = begin(tmp_path / "runs", minute=number)
            train(run, 2, offset=number / 1000)
            runs.append(run.path)
        text = write(runs, tmp_path / "page").read_text("utf-8")
        assert '<b class="key">AD</b>' in text
        assert tags_of(text).open == []


def test_a_browser_draws_the_page_and_loads_nothing_else(odd, colours, browser, page):
    browser.open(page.as_uri())
    assert browser.evaluate("document.querySelectorAll('h1').length") == 1
    charts = browser.evaluate(
        "[...document.querySelectorAll('svg[id^=chart-]')].map(svg => ["
        "svg.id, [...svg.querySelectorAll('.line')].map(line => ["
        "line.getAttribute('d').match(/[ML]/g).length, line.getTotalLength(),"
        "line.getBBox().x, line.getBBox().y,"
        "svg.viewBox.baseVal.width - line.getBBox().x - line.getBBox().width,"
        "svg.viewBox.baseVal.height - line.getBBox().y - line.getBBox().height])])"
    )
    expected = ["accuracy", "val-accuracy", "loss", "val-loss", "seconds"]
    assert [name for name, _ in charts] == [f"chart-{name}" for name in expected]
    for _, lines in charts:
        # As many points as the runs have epochs, within the picture.
        assert [points for points, *_ in lines] == [5, 5, 8]
        for _, length, *margins in lines:
            assert length > 100
            assert min(margins) > 0
    # The lines alone, without their marks and letters.
    browser.evaluate(
        "document.querySelectorAll('.dot, .key').forEach(x => x.style.display = 'none')"
    )
    assert len(colours(browser.picture("#chart-loss"))) >= 3
    assert browser.evaluate(
        "[...document.images].every(x => x.complete && x.naturalWidth > 100)"
    )
    text = browser.evaluate("document.body.innerText")
    assert all(f"model_{n}/20260102" in text for n in (0, 2, 3))
    assert odd in text
    others = {url.partition(":")[0] for url in browser.asked if url != page.as_uri()}
    assert page.as_uri() in browser.asked
    assert others <= {"data", "about"}


def test_a_run_can_be_hidden_without_a_script(browser, page):
    browser.open(page.as_uri())
    shown = (
        "[...document.querySelectorAll('#chart-loss g.run')]"
        ".map(x => getComputedStyle(x).display !== 'none')"
    )
    assert browser.evaluate(shown) == [True, True, True]
    browser.evaluate("document.querySelector('#show-1').click()")
    assert browser.evaluate(shown) == [True, False, True]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_screen_and_the_colour_scheme_of_the_reader(
    browser, page, width, scheme
):
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.send("Emulation.setDeviceMetricsOverride", **screen)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.send("Emulation.setEmulatedMedia", features=[feature])
    browser.open(page.as_uri())
    browser.evaluate("document.querySelectorAll('details').forEach(x => x.open = true)")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    rgb = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", rgb)[:3])) / 3
    assert (brightness > 127) == (scheme == "light")


def test_a_printed_page_shows_the_details(browser, page):
    browser.open(page.as_uri())
    browser.send("Emulation.setEmulatedMedia", media="print")
    shown = "document.querySelector('.inside').checkVisibility()"
    browser.until(shown, seconds=5)
    browser.send("Emulation.setEmulatedMedia", media="screen")
    browser.until(f"!{shown}", seconds=5)
