"""The command: wrong input, closed streams and exit codes."""

import json
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from tlcore.cli import main as cli


class TestWrongInput:
    """A sentence on standard error, exit code 2, no traceback, nothing written."""

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["run", "model_9"], "A recipe must be one of"),
            (["run", "hub_resnet50_v2", "--handle=no/model"], "no such folder or file"),
            (
                ["run", "model_0", "--handle=m", "--backbone=vgg16"],
                "backbone='vgg16' with handle='m'",
            ),
            (["run", "model_0", "--handle=a/b", "--weights=none"], "brings its own"),
            (["run", "model_0", "--handle="], "Received: handle=''"),
            (["run", "model_0", "--views=2"], "needs a recipe with augmentation"),
            (["run", "model_3", "--backbone=vgg61"], "must be one of the catalogue"),
            (["run", "model_3", "--percent=0"], "above 0 and at most 100"),
            (["run", "model_3", "--percent=x"], "is not a valid float"),
            (["run", "model_3", "--last=1000"], "at most 237"),
            (["run", "model_3", "--image-size=8"], "at least 32 pixels"),
            (["run", "model_3", "--weights=no.weights.h5"], "no such file"),
            (["run", "model_3", "--seed=-1"], "from 0 to 4294967295"),
            (["run", "model_3", "--out=/dev/null/runs"], "that can be written to"),
        ],
    )
    def test_of_run(self, tlcore, data, tmp_path, monkeypatch, arguments, message):
        monkeypatch.chdir(tmp_path)
        code, out, err = tlcore(*arguments, "--data", data)
        assert (code, out) == (2, "")
        assert message in err
        assert "Traceback" not in err
        assert list(tmp_path.iterdir()) == []

    def test_a_missing_folder(self, tlcore, tmp_path):
        code, _, err = tlcore(
            "run", "model_3", "--data", tmp_path / "no", "--out", tmp_path / "runs"
        )
        assert code == 2
        assert "Received" in err
        assert not (tmp_path / "runs").exists()

    @pytest.mark.parametrize(
        "arguments",
        [["compare", "."], ["predict", "a.jpg", "--run", "."], ["nonsense"], ["run"]],
    )
    def test_of_other_commands(self, tlcore, tmp_path, monkeypatch, arguments):
        monkeypatch.chdir(tmp_path)
        code, _, err = tlcore(*arguments)
        assert code == 2
        assert err
        assert "Traceback" not in err

    def test_the_traceback_comes_on_request(self, monkeypatch):
        monkeypatch.setenv(cli.TRACEBACK_VARIABLE, "1")
        with pytest.raises(ValueError, match="A recipe must be"):
            cli.main(["run", "model_9", "--data", "."])


class TestStreams:
    def test_a_closed_standard_output_is_no_error(self):
        command = [sys.executable, "-m", "tlcore", "recipes"]
        line = f"{shlex.join(command)} >&-"
        done = subprocess.run(["sh", "-c", line], stderr=subprocess.PIPE, check=False)
        assert (done.returncode, done.stderr) == (0, b"")


class TestExperiments:
    def test_a_real_run_is_listed_shown_published_and_deleted(
        self, tlcore, run_path, data, tmp_path
    ):
        out = tmp_path / "runs"
        copy = out / "model_3" / run_path.name
        shutil.copytree(run_path, copy)
        (row,) = json.loads(tlcore("experiments", "list", "--out", out, "--json")[1])
        assert (row["status"], row["epochs"], row["scalars"]) == ("done", 2, 10)
        code, text, _ = tlcore("experiments", "show", row["id"], "--out", out)
        assert code == 0
        assert "fine_tuning" in text
        to = ("--to", tmp_path / "page")
        code, _, err = tlcore("experiments", "publish", "--out", out, *to)
        assert (code, err) == (0, "")
        page = (tmp_path / "page" / "index.html").read_text("utf-8")
        assert page.count("<img ") == 5
        assert ">fine-tuning</text>" in page
        process = json.loads((run_path / "run.json").read_text())["process"]
        words = re.sub(r"data:[^\"]+", "", page)  # pictures are any letters
        for private in (tmp_path, data, run_path):
            assert str(private) not in words
        assert not re.search(rf"\b{re.escape(process['host'])}\b", words)
        code, _, _ = tlcore("experiments", "delete", row["id"], "--out", out, "--yes")
        assert code == 0
        assert not copy.exists()
