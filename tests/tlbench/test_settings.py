"""Settings of a project: their defaults, and what is refused."""

import pytest

from tlbench.settings import Settings, read_settings


def settings(tmp_path, text):
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    return read_settings(tmp_path)


def test_without_a_file_or_a_table_there_are_the_defaults(tmp_path):
    assert read_settings(tmp_path) == Settings()
    assert settings(tmp_path, "[tool.other]\na = 1\n") == Settings()


def test_settings_are_read(tmp_path):
    text = '[tool.tlbench]\ninstall = "uv sync"\npaths = ["a", "b"]\nbudget = 60\n'
    found = settings(tmp_path, text)
    assert found == Settings(install="uv sync", paths=("a", "b"), budget=60)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("bugdet = 3", r"Did you mean 'budget'\? The names are: budget, convict, in"),
        ("xyz = 3", r"'xyz'. The names are:"),
        ("budget = 0", r"budget .* must be a number of seconds above 0.*budget=0"),
        ("budget = inf", r"budget=inf"),
        ("budget = true", r"budget=True"),
        ('budget = "3"', r"budget='3'"),
        ("install = 3", r"install .* must be a command"),
        ('install = " "', r"install=' '"),
        ('unknown = "ignore"', r"unknown .* must be 'warn', 'fail' or 'ab'"),
        ("unknown = [1]", r"unknown=\[1\]"),
        ('paths = "bench"', r"paths .* must be a list of paths"),
        ("paths = [1]", r"paths=\[1\]"),
        ("paths = ", r"must be valid TOML"),
    ],
)
def test_what_is_not_valid_is_refused(tmp_path, line, message):
    with pytest.raises(ValueError, match=message):
        settings(tmp_path, f"[tool.tlbench]\n{line}\n")


def test_a_table_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must be a table"):
        settings(tmp_path, "[tool]\ntlbench = 3\n")
