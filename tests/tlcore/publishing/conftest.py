"""What the tests of publishing share: runs on disk, a page of three, and a browser."""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from PIL import Image

from tlcore.publishing.publication import prepare, publish
from tlcore.runs.recipes import RECIPES
from tlcore.runs.run import start_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ODD = '"><script>alert("x")</script>{{ 7 * 7 }}&amp;'
COUNTS = {"total_params": 110_644, "trainable_params": 516}


def now():
    return MOMENT


def never(_):
    pytest.fail("it waited")


@pytest.fixture(scope="session")
def begin():
    """Return a function that starts a run, with private things in it."""

    def start(out, recipe="model_3", *, minute=0, **document):
        about = {
            "recipe": {**RECIPES[recipe].as_dict(), "backbone": "sample_net"},
            "seed": 42,
            "data": {
                "folder": "/home/someone/secret/photos",
                "classes": ["cat", ODD],
                "splits": {},
            },
            "machine": {"system": "Linux-6.1-secret", "cores": 2},
            "phases": [
                {"name": "feature_extraction", "first_epoch": 0, "counts": COUNTS}
            ],
            **document,
        }
        return start_run(out, recipe, about, now=MOMENT + timedelta(minutes=minute))

    return start


@pytest.fixture(scope="session")
def train():
    """Return a function that gives a run a history."""

    def write_history(run, epochs, fine_tuning=None, offset=0.0):
        if fine_tuning is not None:
            phase = {
                "name": "fine_tuning",
                "first_epoch": fine_tuning,
                "counts": COUNTS,
            }
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

    return write_history


@pytest.fixture(scope="session")
def end():
    """Return a function that ends a run with final figures."""

    def finish(run, offset=0.0):
        value = 0.95 - offset
        accuracy = {"value": value, "n": 150, "low": value - 0.05, "high": value + 0.02}
        loss = {"value": 0.4, "n": 1, "low": None, "high": None}
        run.finish("done", final={"val_accuracy": accuracy, "val_loss": loss})

    return finish


@pytest.fixture(scope="session")
def write():
    """Return a function that publishes runs once."""

    def publish_runs(paths, to, *, name=None, description=None, **more):
        options = {"one_shot": True, "now": now, "sleep": never, "say": lambda _: None}
        made = prepare(to, name=name, description=description, now=now)
        return publish(made, paths, **{**options, **more})

    return publish_runs


@pytest.fixture(scope="session")
def odd():
    """Return a text that is not markup, although it looks like it."""
    return ODD


@pytest.fixture(scope="session")
def paths(begin, train, end, tmp_path_factory):
    """Return the folders of three runs with pictures that are done."""

    def finished(out, recipe, minute, epochs, fine_tuning=None, offset=0.0):
        run = begin(out, recipe, minute=minute)
        train(run, epochs, fine_tuning, offset)
        noise = Image.effect_noise((1500, 200), 90).convert("RGB")
        noise.save(run.path / "images.png")
        Image.new("RGBA", (1000, 300), "#fa0").save(run.path / "curves.png")
        run.update(process={"pid": 424_242, "host": "secret-host"})
        end(run, offset)
        return run.path

    out = tmp_path_factory.mktemp("runs")
    return [
        finished(out, "model_0", 0, 5),
        finished(out, "model_2", 1, 5, offset=0.1),
        finished(out, "model_3", 2, 8, fine_tuning=5, offset=0.2),
    ]


@pytest.fixture(scope="session")
def page(write, paths, tmp_path_factory):
    """Return the path of a page of the three runs."""
    to = tmp_path_factory.mktemp("page") / "p"
    return write(paths, to, name=f"Three {ODD}", description=f"On {ODD}\nAnd more.")


# A browser


# Chromium reads commands from 3 and writes answers to 4.
LAUNCH = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(pipe), fcntl.F_DUPFD, 10) for pipe in sys.argv[1:3]]
for pipe, number in zip(pipes, (3, 4)):
    os.dup2(pipe, number)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """A Chromium without a window, controlled through pipes; it keeps all requests.

    Host names do not resolve in it, except for this machine.
    """

    # All text of a page, including that of web components.
    DEEP_TEXT = """
    (function text(node) {
      const inner = node.shadowRoot ? text(node.shadowRoot) : '';
      if (node.nodeType === 3) return node.data;
      if (['STYLE', 'SCRIPT', 'TEMPLATE'].includes(node.nodeName)) return '';
      return inner + [...node.childNodes].map(text).join(' ');
    })(document.body)
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
            assert time.monotonic() < end, (
                condition,
                self.evaluate(self.DEEP_TEXT)[:2000],
            )
            time.sleep(0.1)

    def picture(self, selector):
        """Return a picture of the first element that matches."""
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


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("no Chromium")
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium):
    chromium.asked.clear()
    chromium.send("Emulation.clearDeviceMetricsOverride")
    chromium.send("Emulation.setEmulatedMedia", media="", features=[])
    return chromium


@pytest.fixture(scope="session")
def colours():
    """Return a function that finds the vivid hues in a picture, of twelve."""

    def hues(image):
        hue, saturation, _ = np.moveaxis(np.asarray(image.convert("HSV")), -1, 0)
        return set(hue[saturation > 120] // 22)

    return hues
