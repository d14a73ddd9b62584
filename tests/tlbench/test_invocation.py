"""Which options of a session its fresh processes get."""

import argparse

import pytest

from tlbench.invocation import handed_on


@pytest.fixture(scope="module")
def parser():
    """Options of each form: pytest's own, of plugins, of a suite."""
    parser = argparse.ArgumentParser(fromfile_prefix_chars="@")
    parser.add_argument("file_or_dir", nargs="*")
    for names in (
        *(("-k",), ("-m",), ("-p",), ("-o", "--override-ini"), ("-W",), ("--ignore",)),
        *(("-c", "--config-file"), ("--rootdir",), ("--maxfail",), ("--junitxml",)),
        *(("--deselect",), ("--size",), ("--benchmark-timer",), ("--benchmark-json",)),
        *(("-n", "--numprocesses"), ("--dist",), ("--tl-results",), ("--tl-confirm",)),
    ):
        parser.add_argument(*names)
    for names in (
        *(("-q",), ("-s",), ("-x", "--exitfirst"), ("--lf", "--last-failed")),
        *(("--tl-gate",), ("--tl-save",), ("--collect-only", "--co"), ("--pdb",)),
        ("--benchmark-autosave",),
    ):
        parser.add_argument(*names, action="store_true")
    parser.add_argument("--cov", nargs="?", const=True)
    parser.add_argument("--cov-report")
    parser.add_argument("--benchmark-compare", nargs="?", const="")
    parser.add_argument("--sizes", nargs=2)
    return parser


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("tests -q", "-q"),
        ("tests/test_a.py::test_b", ""),
        ("--size 2 tests", "--size=2"),
        ("tests --size=2 more", "--size=2"),
        # A value that is the name of a file as well.
        ("--size tests tests", "--size=tests"),
        ("--sizes 2 3", "--sizes 2 3"),
        ("-p no:cov -pextra", "-p no:cov -p extra"),
        ("-o key=value --override-ini other=x", "-o key=value --override-ini=other=x"),
        ("-W-error -W error", "-W-error -W error"),
        ("-k fast -kslow -m x --deselect a::b --ignore c --lf --last-failed", ""),
        ("-x -sxq --exitfirst --maxfail 3 --co --pdb", "-s -q"),
        ("--junitxml=a.xml --benchmark-json b --benchmark-autosave", ""),
        ("--benchmark-compare --benchmark-timer time.x", "--benchmark-timer=time.x"),
        ("--benchmark-compare=0001 -q", "-q"),
        ("--tl-gate --tl-save --tl-confirm 3 --tl-results kept", "--tl-results=kept"),
        ("-n 2 -n2 --numprocesses=2 --dist loadgroup", ""),
        ("--cov --cov-report term -q", "--cov -q"),
        ("--cov=pkg", "--cov=pkg"),
        ("-c other.ini --rootdir=. --config-file x", ""),
        ("-q -- -k", "-q"),
    ],
)
def test_what_a_fresh_process_gets(parser, line, kept):
    assert handed_on(line.split(), parser) == tuple(kept.split())


def test_an_empty_value_stays_a_value(parser):
    assert handed_on(["-p", "", "--size", ""], parser) == ("-p", "", "--size=")


def test_options_in_a_file_are_read(parser, tmp_path):
    file = tmp_path / "options"
    file.write_text("--size=2\n-x\n")
    assert handed_on([f"@{file}"], parser) == ("--size=2",)


def test_what_is_handed_on_is_read_the_same_again(parser):
    line = "-qs --size -2 -p a -W-b --sizes 1 2 --cov tests".replace("-2", "2")
    once = handed_on(line.split(), parser)
    assert handed_on(once, parser) == once
    assert parser.parse_args(list(once)) == parser.parse_args(line.split())
