"""The tutorials run, and print what stands beneath their blocks: `pytest docs`.

A tutorial is one program. Its blocks run in order, in one namespace and one folder of
their own. The fence says what is done with a block:

- `python`: it runs.
- `console`: its lines that begin with `$ tlcore` run as the command would; each must
  exit with 0. What stands behind them is what they print, standard error included;
  a block of commands alone may print what it likes.
- `output`: what the block before it printed, to the letter, but for spaces at the ends
  of lines. `...` stands for anything.
- a caption that begins with "Typical", of any block: numbers, dates and widths of
  columns may be others, words may not.
- the class `not-run`, of a `python` or `console` block that needs a download or an
  hour: it is read all the same. Python must compile and every `tl.name` must exist;
  commands, options and recipes must exist.
- any other, such as `text`: it is only shown.

A caption or a class makes the fence a directive:

    ```{code-block} output
    :caption: "Typical: figures and seconds differ between machines"
    ```
"""

import ast
import contextlib
import doctest
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from sybil import Document, Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.myst import CodeBlockParser

import tlcore
from tlcore.caching.store import FOLDER_VARIABLE
from tlcore.cli.main import main
from tlcore.cli.main import tlcore as command
from tlcore.runs.recipes import RECIPES

_PROMPT = "$ "
_NUMBER = re.compile(r"(?<!\w)\d[\d,.]*(e[+-]?\d+)?")


class Tutorial(Document):
    """A document that remembers what its last block printed."""

    printed: str | None = None


@contextlib.contextmanager
def _printed_by(document: Document) -> Iterator[None]:
    printed = io.StringIO()
    document.printed = None
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        yield
    document.printed = printed.getvalue()


def _run_python(example: Example) -> None:
    if _is("not-run", example):
        _check_python(example.parsed)
        return
    with _printed_by(example.document):
        PythonEvaluator()(example)


def _check_python(source: str) -> None:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert node.value.id != "tl" or node.attr in tlcore.__all__, node.attr


def _run_commands(example: Example) -> str | None:
    expected = []
    with _printed_by(example.document):
        for line in example.parsed.splitlines():
            if not line.startswith(_PROMPT):
                expected.append(line)
                continue
            program, *arguments = shlex.split(line.removeprefix(_PROMPT))
            assert program == "tlcore", f"only tlcore can be run here, not {program}"
            if _is("not-run", example):
                _check_command(arguments)
            else:
                _run_command(_expanded(arguments))
    if not expected or _is("not-run", example):
        return None
    return _difference("\n".join(expected), example)


def _expanded(arguments: list[str]) -> list[str]:
    """Return arguments with the paths that a shell would put for `*`."""
    expanded = []
    for argument in arguments:
        found = sorted(map(str, Path().glob(argument))) if "*" in argument else []
        expanded += found or [argument]
    return expanded


def _run_command(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        main(arguments)
    assert ending.value.code == 0, f"exit code {ending.value.code}: {arguments}"


def _check_command(arguments: list[str]) -> None:
    group: click.Command = command
    context = click.Context(command, info_name="tlcore")
    while isinstance(group, click.Group):
        name, found, arguments = group.resolve_command(context, arguments)
        context = found.make_context(name, list(arguments), parent=context)
        group = found
    recipe = context.params.get("recipe")
    assert recipe is None or recipe in RECIPES, f"no recipe {recipe}"


def _compare(example: Example) -> str | None:
    return _difference(example.parsed, example)


def _difference(wanted: str, example: Example) -> str | None:
    printed = example.document.printed
    if printed is None:
        return "nothing ran before this output"
    example.document.printed = None
    if _is("typical", example):
        wanted, printed = _roughly(wanted), _roughly(printed)
    wanted, printed = _trimmed(wanted), _trimmed(printed)
    checker, flags = doctest.OutputChecker(), doctest.ELLIPSIS
    if checker.check_output(wanted, printed, flags):
        return None
    return checker.output_difference(doctest.Example("", wanted), printed, flags)


def _is(mark: str, example: Example) -> bool:
    options = example.region.lexemes.get("options", {})
    if mark == "typical":
        return options.get("caption", "").strip("\"'").startswith("Typical")
    return mark in options.get("class", "").split()


def _roughly(text: str) -> str:
    """Return text without numbers, and with one space and one dash for many."""
    return re.sub(r"([ ─━])\1+", r"\1", _NUMBER.sub("0", text))


def _trimmed(text: str) -> str:
    lines = [line.rstrip() for line in text.splitlines()]
    return "\n".join(lines).strip("\n") + "\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give each tutorial an empty folder and a cache of its own."""
    path = tmp_path_factory.mktemp("tutorial")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.setenv(FOLDER_VARIABLE, str(path / ".cache"))
        yield path


PAGES = ("learning_rates", "predictions", "ranking", "resuming", "sweep")
"""Pages of the reference that run as tutorials do."""

PARSERS = [
    CodeBlockParser("python", _run_python),
    CodeBlockParser("console", _run_commands),
    CodeBlockParser("output", _compare),
]

pytest_collect_file = Sybil(
    parsers=PARSERS,
    patterns=["tutorials/*.md", *(f"{page}.md" for page in PAGES)],
    fixtures=["folder"],
    document_types={".md": Tutorial},
).pytest()
