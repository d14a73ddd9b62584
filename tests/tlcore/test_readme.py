"""README: its code and its commands run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tlcore.cli.main import tlcore
from tlcore.data.sample_images import write_sample_images

README = Path(__file__).parents[2] / "README.md"
pytestmark = pytest.mark.skipif(
    not README.exists(), reason="the README is not next to the tests"
)


@pytest.mark.matrix
def test_its_python_runs(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    # The same lines, with a backbone and images that need no download.
    code = code.replace('"efficientnet_b0"', '"sample_net"').replace(
        "epochs=5", "epochs=1"
    )
    monkeypatch.chdir(tmp_path)
    for seed, (split, count) in enumerate([("train", 10), ("test", 2)]):
        write_sample_images(
            tmp_path / "photos" / split, classes=3, per_class=count, size=48, seed=seed
        )
    exec(compile(code, str(README), "exec"), {})
    assert "10 of 31 layers unfrozen" in capsys.readouterr().out
    assert (tmp_path / "curves.png").stat().st_size > 10_000


@pytest.mark.matrix
@pytest.mark.tensorflow
def test_its_way_from_photographs_to_an_export_runs(tmp_path):
    script = README.parent / "bench/scripts/readme_way.py"
    out, pictures = tmp_path / "way", tmp_path / "pictures"
    done = subprocess.run(
        [sys.executable, script, out, "--small", "--pictures", pictures],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    commands = re.findall(r"^\$ tlcore ([\w-]+)", done.stdout, re.MULTILINE)
    way = ["check-data", "rank", "sweep", "run", "predict", "export"]
    assert commands == ["sample-images", *way]
    drawn = {path.name for path in pictures.iterdir()}
    shown = re.findall(r"\(docs/way/(.*?)\)", README.read_text("utf-8"))
    assert set(shown) == drawn
    assert (out / "check.html").is_file()
    assert list((out / "exports").glob("*/check.json"))


def test_its_table_has_every_command_and_no_other():
    named = set(
        re.findall(r"^\| `tlcore ([a-z-]+)", README.read_text("utf-8"), re.MULTILINE)
    )
    assert named == set(tlcore.commands)


def test_its_pictures_are_there():
    for path in re.findall(r"!\[.*?\]\((.*?)\)", README.read_text("utf-8")):
        assert (README.parent / path).is_file()
