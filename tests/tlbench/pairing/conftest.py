"""A small project in a real repository, and environments that need no network."""

import os
import shlex
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tlbench.pairing import environments

PROJECT = """
[project]
name = "pack"
version = "1"

[tool.pytest.ini_options]
testpaths = ["benchmarks"]
"""

# What `pip install -e .` comes to: the folder of the project is on sys.path.
LINK = (
    "import os, site; "
    "open(os.path.join(site.getsitepackages()[0], 'pack.pth'), 'w').write(os.getcwd())"
)


class Project:
    """A repository with two commits; `git` and `write` work in it."""

    def __init__(self, top):
        self.top = top
        self.git("init", "--quiet", "--initial-branch=main", top=top.parent, path=top)
        self.write("pyproject.toml", PROJECT)
        self.write("pack/__init__.py", "VALUE = 1\n")
        self.write("benchmarks/bench_pack.py", "SUITE = 1\n")
        self.write(".gitignore", "__pycache__/\n*.log\n")
        self.commit("one")
        self.write("pack/__init__.py", "VALUE = 2\n")
        self.write("benchmarks/bench_pack.py", "SUITE = 2\n")
        self.commit("two")

    def git(self, *words, top=None, path=None):
        done = subprocess.run(
            ["git", *words, *([path] if path else [])],
            cwd=top or self.top,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not done.returncode, done.stderr
        return done.stdout.strip()

    def write(self, name, text):
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def commit(self, message):
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", message)
        return self.git("rev-parse", "HEAD")

    def state(self):
        """Return the content of all files, those of git too."""
        return {
            path.relative_to(self.top): path.readlink()
            if path.is_symlink()
            else path.read_bytes()
            for path in self.top.rglob("*")
            if path.is_symlink() or path.is_file()
        }


@pytest.fixture(autouse=True)
def _own_settings(own_git, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PYTHONPATH", raising=False)


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path / "a prøject")


@pytest.fixture
def install():
    """Return a command that installs the project without an installer."""
    return shlex.join(["python", "-c", LINK])


@pytest.fixture
def created(monkeypatch):
    """Make environments without pip, with the pytest of this one; count them."""
    made = []

    def create(folder):
        made.append(folder.name)
        venv.create(folder, with_pip=False, symlinks=os.name != "nt")
        (inside,) = folder.glob("lib/python*/site-packages")
        (inside / "ours.pth").write_text("\n".join(site.getsitepackages()))

    monkeypatch.setattr(environments, "create", create)
    return made


@pytest.fixture
def run_python():
    """Return a function that runs code on a side and returns what it prints."""

    def run(side, code):
        done = subprocess.run(
            [str(side.python), "-c", code],
            cwd=side.folder,
            env=side.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not done.returncode, done.stderr
        return done.stdout.strip()

    return run


@pytest.fixture
def script(tmp_path):
    """Return a function that makes a program of Python code and returns its path."""

    def make(name, code, folder=None):
        path = (folder or tmp_path) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!{sys.executable}\n{code}\n")
        path.chmod(0o755)
        return Path(path)

    return make
