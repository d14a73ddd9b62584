"""A framework that is missing: the line to type, and nothing else."""

import subprocess
import sys

import pytest

from tlcore.backend import installed
from tlcore.backend.installed import chosen_backend, missing_backend


@pytest.fixture
def there(monkeypatch):
    """Return a function that says which frameworks are installed."""

    def only(*modules):
        monkeypatch.setattr(
            installed, "find_spec", lambda name: name if name in modules else None
        )

    return only


def test_the_environment_chooses(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert chosen_backend() == "torch"


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ('{"backend": "jax"}', "jax"),
        ("{}", "tensorflow"),
        ("[]", "tensorflow"),
        ("{", "tensorflow"),
        ('{"backend": 3}', "tensorflow"),
    ],
)
def test_then_the_users_file(monkeypatch, tmp_path, text, chosen):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "keras.json").write_text(text)
    assert chosen_backend() == chosen


def test_one_that_is_there_is_no_error(monkeypatch, there):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    there("jax")
    assert missing_backend() is None


def test_one_that_is_missing_is_named_with_the_line_to_type(monkeypatch, there):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    there()
    assert "backend='jax', which is not installed. " in missing_backend()
    assert missing_backend().endswith('Type: pip install "tlcore[jax]".')


def test_another_one_that_is_there_is_named_as_well(monkeypatch, there):
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    there("torch")
    line = 'Type: set KERAS_BACKEND=torch, or pip install "tlcore[tensorflow]".'
    assert missing_backend().endswith(line)


def test_a_backend_that_is_unknown_is_for_keras_to_refuse(monkeypatch, there):
    monkeypatch.setenv("KERAS_BACKEND", "other")
    there()
    assert missing_backend() is None


MISSING = """
import sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"tensorflow", "jax", "torch"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: (
    None if name in {"tensorflow", "jax", "torch"} else found(name, package)
)
sys.meta_path.insert(0, Missing())
"""


@pytest.mark.parametrize(
    "code",
    [
        "import tlcore; tlcore.create_model('sample_net', 3)",
        "from tlcore.cli.main import main; "
        "main(['run', 'model_3', '--backbone', 'sample_net', '--data', sys.argv[1]])",
    ],
)
def test_nothing_but_a_sentence_where_no_framework_is_installed(
    code, images, monkeypatch
):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    done = subprocess.run(
        [sys.executable, "-c", MISSING + code, str(images)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {1, 2}
    assert 'Type: pip install "tlcore[jax]".' in done.stderr
    if "cli" in code:
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
