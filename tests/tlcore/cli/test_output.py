"""Output: no command sends a terminal what others wrote to steer it."""

import ast
import json
import re
from datetime import datetime
from pathlib import Path

import click
import keras
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import tlcore.cli
from tlcore.caching.entry import Key
from tlcore.caching.store import FeatureCache
from tlcore.cli import main as cli
from tlcore.cli.output import echo, echo_json
from tlcore.cli.progress import Progress
from tlcore.data.sample_images import write_sample_images
from tlcore.runs import prediction
from tlcore.runs.prediction import Predictor
from tlcore.runs.publications import note_publication
from tlcore.runs.run import start_run
from tlcore.splitting.tensors import Tensor
from tlcore.terminal.progress import bar

NASTY = "\x1b[31mred\x1b]0;title\x07\x9b2J\u202egnp\u2066\u2028\x7f\r"
STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
FOLDER = Path(tlcore.cli.__file__).parent


def leaves(command, name=""):
    """Return the names of all commands that do something."""
    if not isinstance(command, click.Group):
        return {name}
    found = (leaves(c, f"{name} {n}".strip()) for n, c in command.commands.items())
    return set().union(*found)


@pytest.fixture
def out(tmp_path):
    """Return a folder with a run in which everything is steering."""
    document = {
        "recipe": {"name": NASTY, "backbone": NASTY, NASTY: NASTY, "title": "a"},
        "data": {
            "folder": NASTY,
            "classes": [NASTY],
            "validated_on": NASTY,
            "shared_with_train": {NASTY: 1},
            "splits": {
                NASTY: {
                    "images": 1,
                    "fingerprint": NASTY,
                    "converted": {},
                    "skipped": [],
                }
            },
        },
        "weights": {"source": NASTY, "fingerprint": NASTY},
        "phases": [
            {"name": NASTY, "first_epoch": 0, "counts": {NASTY: 1}, "caching": NASTY},
            {"name": "b", "first_epoch": 1, "counts": {"total_params": 3}},
        ],
        "versions": {NASTY: NASTY},
        "machine": {NASTY: NASTY, "devices": [NASTY], "system": NASTY},
        "error": NASTY,
    }
    out = tmp_path / f"runs{NASTY}"
    run = start_run(out, NASTY, document, now=datetime(2026, 1, 2))
    run.write_history({"epoch": [0], "phase": [NASTY], NASTY: [1.0]})
    figure = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 4, "split": NASTY}
    run.finish(NASTY, final={NASTY: figure, "val_accuracy": figure})
    note = dict.fromkeys(("id", "name", "description", "updated"), NASTY)
    note_publication(run.path, {**note, "folder": str(tmp_path)})
    (tmp_path / "published.json").write_text(json.dumps({"id": NASTY}))
    (run.path / NASTY).write_text("")
    start_run(out, "damaged", {}, now=datetime(2026, 1, 3)).update(status=[NASTY])
    return out


@pytest.fixture
def cache(tmp_path):
    cache = FeatureCache(tmp_path / f"cache{NASTY}")
    key = Key("ab" * 32, images=("00" * 32,))
    pool = [Tensor("pool", (), "uint8")]
    about = {"cut": NASTY, "images": NASTY}
    with cache.locked(key), cache.building(key, pool, about) as builder:
        builder.write(0, [np.zeros(1, "uint8")])
    return cache.folder


@pytest.fixture
def image(tmp_path):
    path = tmp_path / f"{NASTY}.png"
    Image.new("RGB", (8, 8)).save(path)
    return path


@pytest.fixture
def odd(tmp_path):
    """Return class folders with findings and with files that are left out."""
    for name in (f"a{NASTY}", "b"):
        (tmp_path / "odd" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "odd" / name / f"{NASTY}.png")
    (tmp_path / "odd" / "b" / f"notes.{NASTY}").write_text("no image")
    return tmp_path / "odd"


@pytest.fixture
def predictor(monkeypatch):
    outputs = keras.layers.Dense(1, "sigmoid")
    layers = [keras.Input((8, 8, 3)), keras.layers.Flatten(), outputs]
    guess = Predictor(keras.Sequential(layers), (NASTY, "b"))
    monkeypatch.setattr(prediction, "load_predictor", lambda *_, **__: guess)


class TestCommands:
    def assert_quiet(self, done):
        code, printed, err = done
        assert STEERING.search(printed) is None
        assert STEERING.search(err) is None
        assert "Traceback" not in err
        return code, printed + err

    @pytest.mark.parametrize(
        ("command", "arguments", "code"),
        [
            ("backbones", [], 0),
            ("backbones", ["--files"], 0),
            ("recipes", [], 0),
            ("recipes", [NASTY], 2),
            ("sample-images", ["{tmp}/s" + NASTY, "--classes=2", "--per-class=2"], 0),
            ("sample-images", ["{tmp}/none", f"--classes={NASTY}"], 2),
            ("fetch", [NASTY, "{tmp}"], 2),
            ("fetch", ["http://127.0.0.1:1/" + NASTY + ".zip", "{tmp}/to"], 2),
            ("compare", ["{run}"], 0),
            ("compare", ["{tmp}/" + NASTY], 2),
            ("predict", ["{image}"], 0),
            ("predict", ["{image}", "--run", "{tmp}/" + NASTY], 2),
            ("predict", ["{image}", "{tmp}/none" + NASTY], 2),
            ("predict", ["{odd}", "--csv", "{tmp}/" + NASTY], 2),
            ("predict", ["{tmp}/" + NASTY, "--run", "{run}"], 2),
            ("export", ["{tmp}/" + NASTY, "--to=savedmodel"], 2),
            ("export", ["{run}", "--to", NASTY], 2),
            ("rank", ["--data", "{odd}", "--backbones", NASTY], 2),
            ("rank", ["--data", "{tmp}/" + NASTY, "--backbones=sample_net"], 2),
            ("rank", ["--data", "{odd}", "--backbones=sample_net", "--folds=9"], 2),
            ("sweep", [NASTY, "--data", "{odd}"], 2),
            ("sweep", ["model_0", "--data", "{tmp}/" + NASTY], 2),
            ("sweep", ["model_0", "--data", "{odd}", "--dropouts", NASTY], 2),
            ("find-rate", [NASTY, "--data", "{odd}"], 2),
            ("find-rate", ["model_0", "--data", "{tmp}/" + NASTY], 2),
            ("find-rate", ["model_0", "--data", "{odd}", "--phase", NASTY], 2),
            ("cache show", ["--folder", "{cache}"], 0),
            ("cache clear", ["--folder", "{cache}"], 0),
            ("doctor", [NASTY], 2),
            ("run", [NASTY, "--data", "{tmp}"], 2),
            ("run", ["model_3", "--data", "{tmp}/" + NASTY], 2),
            ("run", ["model_3", "--data", "{tmp}", f"--backbone={NASTY}"], 2),
            ("experiments list", ["--out", "{out}"], 0),
            ("experiments list", ["--out", "{tmp}/no" + NASTY], 2),
            ("experiments show", ["{run}"], 0),
            ("experiments show", [NASTY, "--out", "{out}"], 2),
            ("experiments compare", ["--out", "{out}"], 0),
            ("experiments delete", ["{run}", "--yes"], 0),
            ("experiments delete", ["{run}"], 2),
            ("experiments publish", ["{run}", "--name", f"a{NASTY}"], 0),
            ("experiments publish", ["--out", "{out}", "--to", "{tmp}/p" + NASTY], 0),
            ("check-data", ["{tmp}/" + NASTY], 2),
            ("check-data", ["{odd}"], 1),
        ],
    )
    @pytest.mark.usefixtures("predictor")
    def test_shows_what_others_wrote_as_text(
        self, tlcore, tmp_path, monkeypatch, request, command, arguments, code
    ):
        if command not in leaves(cli.tlcore):
            pytest.skip("there is no such command")
        monkeypatch.chdir(tmp_path)
        out = request.getfixturevalue("out")
        (run,) = (out / NASTY).iterdir()
        places = {n: request.getfixturevalue(n) for n in ("cache", "image", "odd")}
        places |= {"tmp": tmp_path, "out": out, "run": run}
        words = [word.format(**places) for word in arguments]
        given, said = self.assert_quiet(tlcore(*command.split(), *words))
        assert given == code
        if code == 0 and command not in {"backbones", "recipes"}:
            assert r"\x1b[31mred" in said or "--name" in arguments

    @pytest.mark.parametrize(
        "arguments",
        [
            *(["experiments", "list", "--out", "{out}", "--json"],),
            *(["experiments", "show", "{run}", "--json"],),
            *(["compare", "{run}", "--json"],),
        ],
    )
    def test_prints_json_that_holds_it_all(self, tlcore, out, arguments):
        (run,) = (out / NASTY).iterdir()
        words = [word.format(out=out, run=run) for word in arguments]
        code, text = self.assert_quiet(tlcore(*words))
        assert code == 0
        assert NASTY in json.dumps(json.loads(text), ensure_ascii=False).replace(
            r"\u001b", "\x1b"
        ).replace(r"\u0007", "\x07").replace(r"\r", "\r")

    def test_is_tried_here_whatever_its_name(self):
        (marks,) = (
            mark.args[1]
            for mark in self.test_shows_what_others_wrote_as_text.pytestmark
            if mark.name == "parametrize"
        )
        assert leaves(cli.tlcore) <= {command for command, *_ in marks}


def test_only_one_module_of_the_command_prints():
    loud = {
        "click.echo",
        "click.secho",
        "print",
        "sys.stdout.write",
        "sys.stderr.write",
    }
    found = {
        path.name
        for path in FOLDER.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in loud
    }
    assert found == {"output.py"}


def test_a_style_is_sent_and_what_is_styled_is_shown(capsys):
    click.echo(click.style("a", fg="red"), color=True)
    styled = capsys.readouterr().out
    assert styled.startswith("\x1b[31m")
    echo("\x1b[32m", fg="red")
    assert capsys.readouterr().out == "\\x1b[32m\n"  # no terminal: without the style


def test_json_is_ascii_and_whole(capsys):
    echo_json({NASTY: "\x7f"})
    text = capsys.readouterr().out
    assert json.loads(text) == {NASTY: "\x7f"}
    assert STEERING.search(text) is None


class TestProgress:
    def console(self):
        return Console(force_terminal=True, width=200, record=True, color_system=None)

    def test_lines_are_shown(self, capsys):
        console = Console(width=200, record=True)
        Progress(console).say(f"train: {NASTY} :boom:\nsecond")
        text = console.export_text()
        assert STEERING.search(text) is None
        assert r"\x1b[31mred" in text
        assert ":boom:\nsecond" in text

    def test_titles_of_bars_are_shown(self):
        console = self.console()
        with bar(NASTY, 3, console=console) as advance:
            advance(3)
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.export_text())
        assert "]0;title\x07" not in text


def test_a_class_of_a_folder_with_such_a_name_is_shown(tlcore, tmp_path):
    write_sample_images(tmp_path / "train", classes=2, per_class=2, size=16)
    (tmp_path / "train" / NASTY).mkdir()
    code, out, err = tlcore(
        *("run", "model_3", "--backbone=sample_net", "--image-size=32"),
        *("--data", tmp_path, "--out", tmp_path / "out"),
    )
    assert code == 2
    assert STEERING.search(out + err) is None
