"""The examples in the docstrings: each is run."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

import tlbench

PACKAGE = Path(tlbench.__file__).parent
MODULES = [
    ".".join(("tlbench", *path.relative_to(PACKAGE).with_suffix("").parts))
    for path in sorted(PACKAGE.rglob("*.py"))
    # At the start of a line: git's conflict markers have more of them.
    if re.search(r"^ *>>> ", path.read_text(encoding="utf-8"), re.MULTILINE)
]


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_a_module_hold(module):
    done = doctest.testmod(importlib.import_module(module))
    assert done.attempted
    assert not done.failed
