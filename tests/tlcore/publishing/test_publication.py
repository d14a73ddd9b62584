"""Publications: what the page and the logdir hold, and what a browser makes of them."""

import base64
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlcore.cli.tensorboard import local_board
from tlcore.publishing import publication
from tlcore.publishing.page import PICTURE_PIXELS
from tlcore.publishing.publication import prepare, publish
from tlcore.runs.collection import list_runs
from tlcore.runs.publications import publications
from tlcore.runs.recipes import RECIPES
from tlcore.runs.run import read_run, start_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ODD = '"><script>alert("x")</script>{{ 7 * 7 }}&amp;'
COUNTS = {"total_params": 110_644, "trainable_params": 516}


def now():
    return MOMENT


def never(_):
    pytest.fail("it waited")


def begin(out, recipe="model_3", *, minute=0, **document):
    about = {
        "recipe": {**RECIPES[recipe].as_dict(), "backbone": "sample_net"},
        "seed": 42,
        "data": {
            "folder": "/home/someone/secret/photos",
            "classes": ["cat", ODD],
            "splits": {},
        },
        "machine": {"system": "Linux-6.1-secret", "cores": 2},
        "phases": [{"name": "feature_extraction", "first_epoch": 0, "counts": COUNTS}],
        **document,
    }
    return start_run(out, recipe, about, now=MOMENT + timedelta(minutes=minute))


def train(run, epochs, fine_tuning=None, offset=0.0):
    if fine_tuning is not None:
        phase = {"name": "fine_tuning", "first_epoch": fine_tuning, "counts": COUNTS}
        run.update(phases=[*run.document["phases"], phase])
    numbers = range(epochs)
    run.write_history(
        {
            "epoch": list(numbers),
            "phase": ["feature_extraction"] * epochs,
            "accuracy": [1 - 0.6 / (i + 1) - offset for i in numbers],
            "loss": [2 / (i + 1) + offset for i in numbers],
            "val_accuracy": [1 - 0.7 / (i + 1) - offset for i in numbers],
            "val_loss": [2.2 / (i + 1) + offset for i in numbers],
            "seconds": [0.5] * epochs,
        }
    )


def end(run, offset=0.0):
    value = 0.95 - offset
    accuracy = {"value": value, "n": 150, "low": value - 0.05, "high": value + 0.02}
    loss = {"value": 0.4, "n": 1, "low": None, "high": None}
    run.finish("done", final={"val_accuracy": accuracy, "val_loss": loss})


def finished(out, recipe, minute, epochs, fine_tuning=None, offset=0.0):
    run = begin(out, recipe, minute=minute)
    train(run, epochs, fine_tuning, offset)
    noise = Image.effect_noise((1500, 800), 90).convert("RGB")
    noise.save(run.path / "images.png")
    Image.new("RGBA", (1000, 300), "#fa0").save(run.path / "curves.png")
    run.update(process={"pid": 424_242, "host": "secret-host"})
    end(run, offset)
    return run.path


def three(out):
    return [
        finished(out, "model_0", 0, 5),
        finished(out, "model_2", 1, 5, offset=0.1),
        finished(out, "model_3", 2, 8, fine_tuning=5, offset=0.2),
    ]


def write(paths, to, *, name=None, description=None, **more):
    options = {"one_shot": True, "now": now, "sleep": never, "say": lambda _: None}
    made = prepare(to, name=name, description=description, now=now)
    return publish(made, paths, **{**options, **more})


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return three(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def page(paths, tmp_path_factory):
    to = tmp_path_factory.mktemp("page") / "p"
    return write(paths, to, name=f"Three {ODD}", description=f"On {ODD}\nAnd more.")


@pytest.fixture(scope="module")
def text(page):
    return page.read_text("utf-8")


class TestPage:
    def test_it_is_whole_and_asks_for_nothing(self, tags_of, text):
        tags = tags_of(text)
        assert tags.open == []
        names = {tag for tag, _ in tags.found}
        assert not names & {"script", "link", "iframe", "object", "form", "base", "a"}
        sources = [a.get("src") or a.get("href") for _, a in tags.found]
        assert all(s.startswith("data:image/") for s in sources if s)
        assert not re.search(r"@import|url\(", text)
        assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in text

    def test_names_are_shown_and_are_no_markup(self, text):
        assert "<script" not in text
        assert "&lt;script&gt;alert(" in text
        assert "{{ 7 * 7 }}" in text
        assert "49&amp;" not in text

    def test_it_says_nothing_of_who_and_where(self, page, text):
        for path in page.parent.rglob("*"):
            private = ["someone", "secret", "424242", "424,242", str(page.parent)]
            told = f"{path.relative_to(page.parent)}" + (
                path.read_bytes().decode("latin-1") if path.is_file() else ""
            )
            if path == page:
                told = re.sub(r"base64,[^\"]*", "", text)
            assert not [word for word in private if word in told]
            assert f".{socket.gethostname()}." not in path.name

    def test_figures_come_with_interval_and_number(self, text):
        row = text[text.index('<section aria-labelledby="runs">') :]
        assert re.search(r"0\.9500<small>0\.900 to 0\.970</small><small>n=150", row)
        # One image has no interval.
        assert re.search(r"0\.4000<small>n=1<", row)
        assert "110,644" in row

    def test_the_start_of_fine_tuning_is_marked_in_every_chart(self, text):
        assert text.count(">fine-tuning C</text>") == text.count('<svg id="chart-') == 5

    def test_what_differs_stands_before_what_is_the_same(self, text):
        part = text[text.index('id="hyperparameters"') :]
        differing, same = part.split("that are the same in every run")[:2]
        assert ">augmentation</th><td>none</td><td>tutorial</td>" in differing
        assert ">seed<" not in differing
        assert ">seed</th><td>42</td>" in same

    def test_pictures_are_in_it_no_larger_than_needed_and_say_nothing(
        self, tags_of, text
    ):
        sources = [a for tag, a in tags_of(text).found if tag == "img"]
        assert len(sources) == 6
        assert all(a["alt"].strip() for a in sources)
        for source in sources:
            data = base64.b64decode(source["src"].split(",")[1])
            with Image.open(io.BytesIO(data)) as image:
                assert max(image.size) <= PICTURE_PIXELS
                assert not set(image.info) & {"Software", "Title", "exif", "comment"}

    def test_headers_and_pictures_can_be_read_aloud(self, tags_of, text):
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

    def test_the_same_runs_give_the_same_bytes(self, paths, page, tmp_path):
        write(
            paths,
            tmp_path / "p",
            name=f"Three {ODD}",
            description=f"On {ODD}\nAnd more.",
        )
        for path in sorted(page.parent.rglob("*")):
            other = tmp_path / "p" / path.relative_to(page.parent)
            if path.is_file() and path.name != "published.json":
                assert other.read_bytes() == path.read_bytes()

    def test_runs_of_any_kind_have_a_page(self, tmp_path):
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

    def test_one_run_has_no_boxes_and_its_details_open(self, tags_of, paths, tmp_path):
        tags = tags_of(write(paths[:1], tmp_path / "page").read_text("utf-8"))
        assert not [a for tag, a in tags.found if tag == "input"]
        assert all("open" in a for tag, a in tags.found if tag == "details")

    def test_a_hundred_runs_have_letters_and_styles(self, tags_of, tmp_path):
        runs = []
        for number in range(100):
            run = begin(tmp_path / "runs", minute=number)
            train(run, 2, offset=number / 1000)
            runs.append(run.path)
        text = write(runs, tmp_path / "page").read_text("utf-8")
        assert '<b class="key">CV</b>' in text
        assert tags_of(text).open == []


class TestPublishing:
    def test_the_folder_says_what_it_is(self, paths, tmp_path):
        page = write(paths, tmp_path / "p", name=" A name ", description="why")
        assert page == tmp_path / "p" / "index.html"
        document = json.loads((tmp_path / "p" / "published.json").read_text())
        assert document.pop("id")
        assert document == {
            "schema": 1,
            "name": "A name",
            "description": "why",
            "created": "2026-01-02T03:04:05+00:00",
            "updated": "2026-01-02T03:04:05+00:00",
            "runs": [read_run(path).name for path in paths],
        }

    def test_the_runs_know_of_it(self, paths, tmp_path):
        write(paths, tmp_path / "p", name="A name", description="why")
        note = publications(paths[0])[-1]
        assert (note["name"], note["description"]) == ("A name", "why")
        assert note["folder"] == str(tmp_path / "p")
        names = {n["name"] for n in list_runs(paths[0].parents[1])[0]["publications"]}
        assert "A name" in names

    def test_again_it_is_the_same_publication_with_other_runs(self, paths, tmp_path):
        to = tmp_path / "p"
        write(paths, to, name="First", description="why")
        first = json.loads((to / "published.json").read_text())
        later = {"now": lambda: MOMENT + timedelta(days=1)}
        write(paths[1:], to, name="Second", **later)
        second = json.loads((to / "published.json").read_text())
        assert (second["id"], second["created"]) == (first["id"], first["created"])
        assert (second["name"], second["description"]) == ("Second", "why")
        assert second["updated"] > first["updated"]
        assert "model_0/" not in (to / "index.html").read_text("utf-8")
        folders = {p.parent.parent.name for p in to.glob("tensorboard/*/*/*")}
        assert folders == {"model_2", "model_3"}
        write(paths[1:], to)
        assert json.loads((to / "published.json").read_text())["name"] == "Second"

    def test_the_folder_is_called_after_the_name(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for name, folder in (
            (None, "experiments"),
            ("Food: 10 %, three ways!", "food-10-three-ways"),
            ("料理 ../../x", "料理-x"),
        ):
            made = prepare(None, name=name, description=None, now=now)
            assert made.folder == Path("published") / folder
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("name", ["", "  ", "..", "///", "!?"])
    def test_a_name_that_says_nothing_is_refused(self, name):
        with pytest.raises(ValueError, match=r"hold a letter or a digit\. Received"):
            prepare(None, name=name, description=None, now=now)

    def test_a_folder_of_something_else_is_refused(self, tmp_path):
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "index.html").write_text("precious")
        (tmp_path / "file").touch()
        for to in (tmp_path / "site", tmp_path / "file"):
            with pytest.raises(
                ValueError, match=r"a folder of its own\. Received: to=.*--to"
            ):
                prepare(to, name=None, description=None, now=now)

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "x"}', "[" * 100_000])
    def test_a_damaged_publication_is_refused(self, tmp_path, text):
        (tmp_path / "published.json").write_text(text)
        with pytest.raises(ValueError, match=r"must be whole\. Received: .*--to"):
            prepare(tmp_path, name=None, description=None, now=now)

    def test_one_of_a_newer_version_is_refused(self, paths, tmp_path):
        write(paths, tmp_path / "p")
        file = tmp_path / "p" / "published.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "schema": 2}))
        with pytest.raises(ValueError, match=r"up to schema 1\. Received: schema=2"):
            prepare(tmp_path / "p", name=None, description=None, now=now)

    def test_two_runs_of_one_name_are_refused_and_one_twice_is_one(
        self, paths, tmp_path
    ):
        copy = tmp_path / "runs" / "model_0" / paths[0].name
        shutil.copytree(paths[0], copy)
        with pytest.raises(
            ValueError, match=r"names of their own\. Received: model_0/"
        ):
            write([paths[0], copy], tmp_path / "p")
        page = write([paths[0], paths[0] / "."], tmp_path / "p")
        assert (
            len(json.loads((page.parent / "published.json").read_text())["runs"]) == 1
        )

    def test_a_damaged_run_is_refused_before_anything_is_written(self, paths, tmp_path):
        for document in (
            {"history": {"epoch": [0], "loss": ["a"], "seconds": [1]}},
            {"process": 1, "status": "running"},
        ):
            run = begin(tmp_path / "runs")
            run.update(**document)
            with pytest.raises(ValueError, match=r"run\.json must be whole\. Received"):
                write([run.path], tmp_path / "p")
            assert not (tmp_path / "p").exists()

    def test_a_run_that_cannot_be_written_to_is_published_all_the_same(
        self, paths, tmp_path, monkeypatch
    ):
        def refuse(*_):
            raise PermissionError(13, "Permission denied")

        said = []
        monkeypatch.setattr(publication, "note_publication", refuse)
        assert write(paths, tmp_path / "p", say=said.append).exists()
        assert len(said) == 3
        assert "model_0/" in said[0]
        assert "Permission denied" in said[0]


class TestFollowing:
    """Without --one-shot the page follows its runs."""

    def follow(self, run, to, steps, **more):
        said, slept = [], []

        def sleep(seconds):
            slept.append(seconds)
            steps.pop(0)()

        page = write(
            [run.path], to, one_shot=False, sleep=sleep, say=said.append, **more
        )
        return page, said, slept

    def test_it_is_written_again_until_the_run_has_ended(self, tmp_path):
        run, to, seen = begin(tmp_path / "runs"), tmp_path / "p", []

        def look():
            text = (to / "index.html").read_text("utf-8")
            seen.append((text.count("epoch 3: "), 'http-equiv="refresh"' in text))

        steps = [
            lambda: (look(), train(run, 2)),
            lambda: (look(), train(run, 3)),
            lambda: (look(), end(run)),
        ]
        page, said, slept = self.follow(run, to, steps)
        look()
        assert [live for _, live in seen] == [True, True, True, False]
        assert [bool(third) for third, _ in seen] == [False, False, True, True]
        assert slept == [publication.POLL_SECONDS] * 3
        assert said == [f"waiting for {run.name}; Ctrl-C ends the updates"]
        assert "0.9500" in page.read_text("utf-8")
        (events,) = to.glob("tensorboard/*/*/*")
        assert events.name.endswith(".00000018.tlcore")

    def test_nothing_is_written_while_nothing_changes(self, tmp_path):
        run, to = begin(tmp_path / "runs"), tmp_path / "p"
        stamps = []

        def look():
            stamps.append((to / "index.html").stat().st_ino)

        self.follow(run, to, [look, look, lambda: end(run)])
        assert stamps[0] == stamps[1] != (to / "index.html").stat().st_ino

    def test_one_shot_waits_for_nobody(self, tmp_path):
        run = begin(tmp_path / "runs")
        text = write([run.path], tmp_path / "p").read_text("utf-8")
        assert 'http-equiv="refresh"' not in text
        assert "1 still training" in text

    def test_a_run_whose_process_is_gone_has_ended(self, tmp_path):
        run = begin(tmp_path / "runs")

        def kill():
            with subprocess.Popen(["true"]) as process:
                pass
            run.update(process={**run.document["process"], "pid": process.pid})

        page, _, slept = self.follow(run, tmp_path / "p", [kill])
        assert len(slept) == 1
        assert 'class="badge killed"' in page.read_text("utf-8")

    def test_a_run_that_is_removed_meanwhile_is_kept_as_it_was(self, tmp_path):
        run = begin(tmp_path / "runs")
        train(run, 2)
        steps = [lambda: shutil.rmtree(run.path)]
        page, said, _ = self.follow(run, tmp_path / "p", steps)
        assert said[1] == f"{run.name} was removed; the page keeps what was known of it"
        text = page.read_text("utf-8")
        assert 'class="badge removed"' in text
        assert "epoch 2: " in text

    def test_a_run_that_is_damaged_meanwhile_is_kept_as_it_was(self, tmp_path):
        run = begin(tmp_path / "runs")
        train(run, 2)
        steps = [lambda: (run.path / "run.json").write_text("{")]
        page, said, _ = self.follow(run, tmp_path / "p", steps)
        assert said[1] == f"{run.name} was damaged; the page keeps what was known of it"
        text = page.read_text("utf-8")
        assert 'class="badge damaged"' in text
        assert "epoch 2: " in text

    @pytest.mark.parametrize("how", [KeyboardInterrupt, SystemExit])
    def test_ctrl_c_leaves_a_whole_page_of_what_was_known(self, tags_of, tmp_path, how):
        run, to = begin(tmp_path / "runs"), tmp_path / "p"

        def interrupt():
            train(run, 3)
            raise how

        with pytest.raises(how):
            self.follow(run, to, [interrupt])
        text = (to / "index.html").read_text("utf-8")
        assert tags_of(text).open == []
        assert "epoch 3: " in text
        assert 'http-equiv="refresh"' not in text
        assert publications(run.path)


# In a browser


# Chromium reads commands from 3 and writes answers to 4.
LAUNCH = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(pipe), fcntl.F_DUPFD, 10) for pipe in sys.argv[1:3]]
for pipe, number in zip(pipes, (3, 4)):
    os.dup2(pipe, number)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """A Chromium without a window, spoken to by a pipe; every request is kept.

    No host but this machine has an address in it.
    """

    def __init__(self, profile, *, width=1280, height=1000):
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", LAUNCH, str(theirs_in), str(theirs_out)),
                *(CHROMIUM, "--headless", "--no-sandbox"),
                *("--disable-gpu", "--remote-debugging-pipe", "--hide-scrollbars"),
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                f"--window-size={width},{height}",
                f"--user-data-dir={profile}",
                "about:blank",
            ],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._count, self._read, self._session = 0, b"", None
        self.asked = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self.send("Network.enable")
        self.send("Page.enable")

    def send(self, method, **params):
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("method") == "Network.requestWillBeSent":
                self.asked.append(answer["params"]["request"]["url"])
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self):
        while b"\0" not in self._read:
            more = os.read(self._from, 1 << 20)
            assert more, "the browser ended"
            self._read += more
        message, _, self._read = self._read.partition(b"\0")
        return json.loads(message)

    def open(self, url):
        self.send("Page.navigate", url="about:blank")
        self.send("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def evaluate(self, expression):
        given = {"expression": expression, "returnByValue": True}
        answer = self.send("Runtime.evaluate", **given)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, condition, seconds=60):
        end = time.monotonic() + seconds
        while not self.evaluate(condition):
            assert time.monotonic() < end, (condition, self.evaluate(DEEP_TEXT)[:2000])
            time.sleep(0.1)

    def picture(self, selector):
        """Return what is drawn of the first element that matches."""
        box = self.evaluate(
            f"(() => {{ const r = document.querySelector({json.dumps(selector)})"
            ".getBoundingClientRect(); return {x: r.x + scrollX, y: r.y + scrollY,"
            " width: r.width, height: r.height, scale: 1} })()"
        )
        shot = self.send("Page.captureScreenshot", clip=box, captureBeyondViewport=True)
        return Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")

    def close(self):
        self._process.terminate()
        self._process.wait(30)
        os.close(self._to)
        os.close(self._from)


# All text of a page, that of its components too.
DEEP_TEXT = """
(function text(node) {
  const inner = node.shadowRoot ? text(node.shadowRoot) : '';
  if (node.nodeType === 3) return node.data;
  if (['STYLE', 'SCRIPT', 'TEMPLATE'].includes(node.nodeName)) return '';
  return inner + [...node.childNodes].map(text).join(' ');
})(document.body)
"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium):
    chromium.asked.clear()
    chromium.send("Emulation.clearDeviceMetricsOverride")
    chromium.send("Emulation.setEmulatedMedia", media="", features=[])
    return chromium


def colours(image):
    """Return the vivid hues in a picture, of twelve."""
    hue, saturation, _ = np.moveaxis(np.asarray(image.convert("HSV")), -1, 0)
    return set(hue[saturation > 120] // 22)


@needs_browser
def test_a_browser_draws_the_page_and_asks_for_nothing_else(browser, page):
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
    assert ODD in text
    others = {url.partition(":")[0] for url in browser.asked if url != page.as_uri()}
    assert page.as_uri() in browser.asked
    assert others <= {"data", "about"}


@needs_browser
def test_a_run_can_be_hidden_without_a_script(browser, page):
    browser.open(page.as_uri())
    shown = (
        "[...document.querySelectorAll('#chart-loss g.run')]"
        ".map(x => getComputedStyle(x).display !== 'none')"
    )
    assert browser.evaluate(shown) == [True, True, True]
    browser.evaluate("document.querySelector('#show-1').click()")
    assert browser.evaluate(shown) == [True, False, True]


@needs_browser
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_its_screen_in_the_colours_of_the_reader(browser, page, width, scheme):
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


@needs_browser
def test_what_is_printed_holds_the_details(browser, page):
    browser.open(page.as_uri())
    browser.send("Emulation.setEmulatedMedia", media="print")
    shown = "document.querySelector('.inside').checkVisibility()"
    browser.until(shown, seconds=5)
    browser.send("Emulation.setEmulatedMedia", media="screen")
    browser.until(f"!{shown}", seconds=5)


def fetched(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


def until(read, expected, seconds=60):
    end = time.monotonic() + seconds
    while (found := read()) != expected:
        assert time.monotonic() < end, found
        time.sleep(0.1)


@needs_browser
def test_tensorboard_lists_three_published_runs_and_draws_them(browser, page, paths):
    names = sorted(read_run(path).name for path in paths)
    with local_board(page.parent / "tensorboard") as address:
        until(lambda: sorted(fetched(f"{address}data/runs")), names)
        tag = f"tag=accuracy/validation&run={names[2]}"
        points = fetched(f"{address}data/plugin/scalars/scalars?{tag}")
        assert [step for _, step, _ in points] == list(range(1, 9))
        groups = fetched(
            f"{address}experiment/x/data/plugin/hparams/session_groups",
            {
                "experimentName": "",
                "allowedStatuses": ["STATUS_SUCCESS"],
                "colParams": [],
                "startIndex": 0,
                "sliceSize": 10,
            },
        )["sessionGroups"]
        assert sorted(group["name"] for group in groups) == names
        for group in groups:
            assert group["hparams"]["backbone"] == "sample_net"
            metrics = {m["name"]["tag"]: m["value"] for m in group["metricValues"]}
            assert 0.7 < metrics["final/val_accuracy"] <= 0.95

        browser.open(f"{address}#timeseries")
        browser.until("document.querySelectorAll('line-chart canvas').length >= 2")
        text = f"({DEEP_TEXT})"
        for name in names:
            browser.until(f"{text}.includes({json.dumps(name)})")
        end = time.monotonic() + 30
        while len(colours(browser.picture("line-chart"))) < 2:
            assert time.monotonic() < end, "no curve is drawn"
        browser.open(f"{address}#hparams")
        for word in (*names, "fine_tune_epochs", "final/val_accuracy"):
            browser.until(f"{text}.includes({json.dumps(word)})")
    asked = {url for url in browser.asked if not url.startswith(("data:", "blob:"))}
    assert any("/data/runs" in url for url in asked)
    assert {url for url in asked if not url.startswith((address, "about:"))} == set()


@pytest.mark.slow
def test_a_tensorboard_that_is_looking_sees_what_is_published_again(tmp_path):
    run, to = begin(tmp_path / "runs"), tmp_path / "p"
    train(run, 2)
    write([run.path], to)
    with local_board(to / "tensorboard") as address:
        scalars = f"{address}data/plugin/scalars/scalars?tag=loss/train&run={run.name}"
        until(lambda: fetched(f"{address}data/runs"), [run.name])
        assert [step for _, step, _ in fetched(scalars)] == [1, 2]
        train(run, 4)
        write([run.path], to)
        until(lambda: [step for _, step, _ in fetched(scalars)], [1, 2, 3, 4])
