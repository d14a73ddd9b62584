"""The commands `tlcore experiments`: what they print, ask and refuse."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from tlcore.cli import main as cli
from tlcore.runs.run import start_run

MOMENT = datetime(2026, 1, 2, 3, 4, 5)
ID = "model_3/20260102-030405"
ACCURACY = {"value": 0.9, "n": 150, "low": 0.84, "high": 0.94}

# What a shell sent to the background ignores Ctrl-C, and hands that down.
COMMAND = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from tlcore.cli.main import program
program()
"""


def start(out, recipe="model_3"):
    about = {"name": recipe, "backbone": "sample_net"}
    return start_run(out, recipe, {"recipe": about}, now=MOMENT)


def finished(out, recipe="model_3"):
    run = start(out, recipe)
    run.write_history({"epoch": [0, 1], "loss": [2.0, 1.0], "seconds": [3.0, 1.0]})
    run.finish("done", final={"val_accuracy": {**ACCURACY, "split": "test"}})
    return run


@pytest.fixture
def out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finished(Path("runs"))
    return tmp_path / "runs"


@pytest.fixture
def experiments(capsys):
    """Run a command in this process; returns (exit code, output, errors)."""

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.main(["experiments", *map(str, arguments)])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


class TestList:
    def test_it_prints_a_table(self, experiments, out):
        finished(out, "model_0")
        code, text, _ = experiments("list")
        assert code == 0
        for word in (ID, "model_0/", "done", "0.9000 (0.840-0.940, n=150)", " B "):
            assert word in text

    def test_a_damaged_run_stands_in_it_with_the_reason_below(self, experiments, out):
        (finished(out, "model_0").path / "run.json").write_text("{")
        code, text, _ = experiments("list")
        assert code == 0
        assert "damaged" in text
        assert re.search(
            r"^model_0/20260102-030405: A run\.json must", text, re.MULTILINE
        )

    def test_its_json_is_rows(self, experiments, out):
        (row,) = json.loads(experiments("list", "--json")[1])
        assert (row["id"], row["epochs"], row["scalars"]) == (ID, 2, 4)

    def test_an_empty_folder_is_a_sentence_and_a_missing_one_wrong(
        self, experiments, tmp_path
    ):
        code, text, _ = experiments("list", "--out", tmp_path)
        assert code == 0
        assert text == (
            f"{tmp_path} holds no run; `tlcore run RECIPE --data DIR` makes one\n"
        )
        assert experiments("list", "--out", tmp_path, "--json")[1] == "[]\n"
        code, text, err = experiments("list", "--out", tmp_path / "no")
        assert (code, text) == (2, "")
        assert "Runs must be in a folder. Received" in err


class TestShow:
    def test_it_prints_all_of_a_run(self, experiments, out):
        code, text, _ = experiments("show", ID)
        assert code == 0
        for word in ("Recipe", "efficientnet_b0", "Epochs", "0.84", "history.csv"):
            assert word in text

    def test_its_json_is_run_json_with_the_files(self, experiments, out):
        shown = json.loads(experiments("show", out / ID, "--json")[1])
        assert shown["status"] == "done"
        assert set(shown["files"]) == {"run.json", "history.csv"}
        assert shown["publications"] == []

    def test_a_published_run_says_so(self, experiments, out):
        experiments("publish", "--name=Food", "--one-shot")
        text = experiments("show", ID)[1]
        assert "Published" in text
        assert "Food" in text

    def test_another_name_is_answered_with_the_nearest(self, experiments, out):
        code, _, err = experiments("show", ID[:-1])
        assert code == 2
        assert f"Did you mean '{ID}'?" in err
        assert "`tlcore experiments list`" in err

    def test_a_damaged_one_is_told(self, experiments, out):
        (out / ID / "run.json").write_text("")
        code, _, err = experiments("show", ID)
        assert (code, "must be whole. Received" in err) == (2, True)
        assert "Traceback" not in err


class TestCompare:
    def test_it_prints_the_table_of_some_or_all(self, experiments, out):
        finished(out, "model_0")
        assert experiments("compare", ID)[1].count("sample_net") == 1
        assert experiments("compare")[1].count("sample_net") == 2
        rows = json.loads(experiments("compare", ID, out / ID, "--json")[1])
        assert [row["run"] for row in rows] == [ID, ID]

    def test_of_all_a_damaged_one_is_left_out_aloud(self, experiments, out):
        (finished(out, "model_0").path / "run.json").write_text("{")
        code, text, err = experiments("compare")
        assert code == 0
        assert text.count("sample_net") == 1
        assert "left out: A run.json must be whole" in err

    def test_of_none_it_says_so(self, experiments, tmp_path):
        code, text, _ = experiments("compare", "--out", tmp_path)
        assert (code, "holds no run" in text) == (0, True)


class TestDelete:
    def ask(self, monkeypatch, answer):
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        asked = []
        monkeypatch.setattr("click.confirm", lambda text: asked.append(text) or answer)
        return asked

    def test_it_shows_what_goes_and_asks(self, experiments, out, monkeypatch):
        asked = self.ask(monkeypatch, answer=True)
        code, text, _ = experiments("delete", ID)
        assert code == 0
        assert re.search(r"20260102-030405: 2 files, [\d.]+ (B|KiB)\n", text)
        assert text.endswith(f"deleted: runs/{ID}\n")
        assert asked == ["Delete this run?"]
        assert not (out / ID).exists()

    def test_no_is_no(self, experiments, out, monkeypatch):
        other = finished(out, "model_0")
        asked = self.ask(monkeypatch, answer=False)
        code, text, _ = experiments("delete", ID, other.name)
        assert code == 0
        assert text.endswith("nothing was deleted\n")
        assert asked == ["Delete these 2 runs?"]
        assert (out / ID).exists()

    def test_with_yes_nothing_is_asked(self, experiments, out):
        code, _, _ = experiments("delete", ID, out / ID, "--yes")
        assert code == 0
        assert not (out / ID).exists()

    def test_without_a_terminal_it_must_be_confirmed(
        self, experiments, out, monkeypatch
    ):
        monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
        code, _, err = experiments("delete", ID)
        assert code == 2
        assert "must be confirmed. Received: no terminal" in err
        assert "add --yes" in err
        assert (out / ID).exists()

    def test_one_that_goes_on_keeps_all_of_them(self, experiments, out):
        running = start(out, "model_0")
        code, _, err = experiments("delete", ID, running.name, "--yes")
        assert code == 2
        assert "must have ended to be deleted" in err
        assert (out / ID).exists()

    def test_a_folder_of_something_else_is_not_deleted(self, experiments, out):
        (out / "notes").mkdir()
        (out / "notes" / "run.json").write_text("mine")
        code, _, err = experiments("delete", out / "notes", "--yes")
        assert (code, "Only the folder of a run" in err) == (2, True)
        assert (out / "notes" / "run.json").exists()


class TestPublish:
    def test_it_says_where_the_page_is_and_how_to_look(self, experiments, out):
        arguments = ("--name", "Food, 10 %", "--description", "why", "--one-shot")
        code, text, _ = experiments("publish", *arguments)
        assert code == 0
        assert text.splitlines() == [
            "page: published/food-10/index.html",
            "to compare in TensorBoard: tensorboard --logdir "
            "published/food-10/tensorboard",
        ]
        page = (out.parent / "published/food-10/index.html").read_text("utf-8")
        assert ID in page
        assert "Food, 10 %" in experiments("list")[1]

    def test_its_json_names_the_same(self, experiments, out, tmp_path):
        to = tmp_path / "site"
        code, text, _ = experiments("publish", ID, "--to", to, "--one-shot", "--json")
        assert code == 0
        told = json.loads(text)
        assert (told["page"], told["name"]) == (str(to / "index.html"), "Experiments")
        assert Path(told["log_dir"]).is_dir()

    @pytest.mark.parametrize(
        "history", [{"epoch": "abc"}, {"epoch": [10**400]}, {"loss": ["<b>"]}]
    )
    def test_of_all_one_with_an_odd_history_is_left_out(
        self, experiments, out, history
    ):
        finished(out, "model_0").update(history=history)
        code, _, err = experiments("publish", "--one-shot")
        assert (code, "left out: " in err) == (0, True)

    def test_a_figure_that_is_no_number_is_told_and_the_others_listed(
        self, experiments, out
    ):
        odd, wrong = finished(out, "model_0"), finished(out, "model_1")
        figure = {"value": None, "low": None, "high": None, "n": 4}
        odd.update(final={"val_accuracy": figure})
        wrong.update(final={"val_accuracy": {**figure, "value": "<b>"}})
        code, text, _ = experiments("list")
        assert code == 0
        assert text.count("no number") == 1
        assert text.count("damaged") == 1
        assert experiments("compare")[0] == 0

    def test_of_all_a_damaged_one_is_left_out_and_of_some_it_is_wrong(
        self, experiments, out
    ):
        damaged = finished(out, "model_0")
        (damaged.path / "run.json").write_text("{")
        code, _, err = experiments("publish")
        assert (code, "left out: " in err) == (0, True)
        code, _, err = experiments("publish", damaged.name)
        assert (code, "must be whole" in err) == (2, True)

    def test_without_a_run_there_is_no_page(self, experiments, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        code, _, err = experiments("publish", "--out", tmp_path)
        assert code == 2
        assert "A publication needs a run. Received: " in err
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_of_something_else_is_refused(self, experiments, out):
        code, _, err = experiments("publish", "--to", out)
        assert (code, "a folder of its own" in err) == (2, True)

    def test_ctrl_c_ends_the_updates_with_a_whole_page(self, out):
        running = start(out, "model_0")
        with subprocess.Popen(
            [sys.executable, "-c", COMMAND, "experiments", "publish", running.name],
            stderr=subprocess.PIPE,
            text=True,
            cwd=out.parent,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        ) as process:
            try:
                line = process.stderr.readline()
                assert line.startswith(f"waiting for {running.name}")
                time.sleep(0.2)
                process.send_signal(signal.SIGINT)
                _, err = process.communicate(timeout=30)
            finally:
                process.kill()
        assert process.returncode == 130
        assert "Traceback" not in err
        page = out.parent / "published/experiments/index.html"
        assert page.read_text("utf-8").rstrip().endswith("</html>")
        assert 'http-equiv="refresh"' not in page.read_text("utf-8")


def test_a_reader_that_goes_away_is_no_error(out):
    command = f"{sys.executable} -m tlcore experiments list | true"
    done = subprocess.run(
        ["sh", "-c", command],
        stderr=subprocess.PIPE,
        cwd=out.parent,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert b"Traceback" not in done.stderr
