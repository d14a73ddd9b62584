"""Settings of a project: their defaults, and what is refused."""

import pytest

from tlbench.settings import Settings, read_settings
from tlbench.verdicts.limits import Limits


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
        ("bugdet = 3", r"Did you mean 'budget'\? The names are: budget, case, cl"),
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
        ("practical_sise = 0.1", r"Did you mean 'practical_size'\?"),
        ("practical_size = 5", r"practical_size .* must be a fraction .*size=5\."),
        ("practical_size = -0.1", r"practical_size=-0.1"),
        ("practical_size = true", r"practical_size=True"),
        ("practical_size = nan", r"practical_size=nan"),
        ('practical_size = "5 %"', r"practical_size='5 %'"),
        ("largest_detectable = 0", r"largest_detectable .* must be a fraction above 0"),
        ("largest_detectable = 50", r"at most 10, such as 0.5 .*detectable=50"),
        ("practical_size = 0.6", r"must be smaller than largest_detectable.*=0.6, lar"),
        ('clock = "gpu"', r"clock .* must be one of 'auto', 'cpu' and 'wall'.*='gpu'"),
        ("clock = 3", r"clock=3"),
        ('ignore = "a*"', r"ignore .* must be a list of patterns.*ignore='a\*'"),
        ("ignore = true", r"ignore=True"),
        ('case = "a*"', r"case .* must be an array of tables: \[\[tool.tlbench.case"),
        ('case = {pattern = "a"}', r"must be an array of tables"),
    ],
)
def test_what_is_not_valid_is_refused(tmp_path, line, message):
    with pytest.raises(ValueError, match=message):
        settings(tmp_path, f"[tool.tlbench]\n{line}\n")


def test_a_table_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must be a table"):
        settings(tmp_path, "[tool]\ntlbench = 3\n")


def test_limits_are_those_of_the_project_then_of_patterns(tmp_path):
    found = settings(
        tmp_path,
        """
[tool.tlbench]
practical_size = 0.02
largest_detectable = 1
clock = "wall"
ignore = ["a.py::io*", "b.py::*"]

[[tool.tlbench.case]]
pattern = "a.py::*"
practical_size = 0.1

[[tool.tlbench.case]]
pattern = "*::io_fast"
ignore = false
clock = "cpu"
""",
    ).policy
    assert found.of("c.py::x") == Limits(
        practical_size=0.02, largest_detectable=1, clock="wall"
    )
    assert found.of("a.py::io_slow").ignore
    assert found.of("a.py::io_slow").practical_size == 0.1
    assert not found.of("a.py::io_fast").ignore
    assert found.of("a.py::io_fast").clock == "cpu"
    assert found.of("b.py::x").ignore
    assert found.unmatched(["a.py::io_slow"]) == ("b.py::*", "*::io_fast")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("ignore = true", r"number 1 in .* must have a pattern .* Add a pattern"),
        ('pattern = "a"', r"at least one of clock, ignore, larg.* Add a limit"),
        ('pattern = ""', r"pattern under .* must be a pattern of case names"),
        ('pattern = "a"\nclok = "cpu"', r"'clok'. Did you mean 'clock'\?"),
        ('pattern = "a"\nbudget = 3', r"number 1 .* 'budget'. The names are: clock"),
        ('pattern = "a"\nignore = ["b"]', r"ignore .* must be true or false"),
        ('pattern = "a"\npractical_size = 0.5', r"must be smaller than largest_detec"),
    ],
)
def test_a_case_that_is_not_valid_is_refused(tmp_path, lines, message):
    with pytest.raises(ValueError, match=message):
        settings(tmp_path, f"[[tool.tlbench.case]]\n{lines}\n")
