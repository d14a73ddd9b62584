"""Run unchanged foreign suites under the gate many times, then with something planted.

The suites are those of `ab_sessions.py`, each in a git repository of its own in the
folder, with an environment that has tlbench from this tree. Five runs are accepted, and
every night after that is gated with conviction; every second one while other processes
keep the processors busy. Then some code of the package gets slower by a share, and the
gate must find it. Prints how many nights were red, as Markdown.

    python bench/scripts/gates.py --folder /tmp/suites --nights 10
    python bench/scripts/gates.py --folder /tmp/suites --only cattrs --plant 0.3
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
import venv
from dataclasses import dataclass
from pathlib import Path

from ab_sessions import SUITES, Suite, busy, prepare, source_of

BENCH = Path(__file__).resolve().parents[1]

PLANT = '''

def _slower(kind, name, share=SHARE):
    """Do some calls twice, so that all take so much longer on average."""
    original, owed, inside = getattr(kind, name), 0.0, False

    def more(self, *args, **options):
        nonlocal owed, inside
        if inside:  # of a call within a call, only the outer one
            return original(self, *args, **options)
        inside = True
        try:
            owed += share
            while owed >= 1:
                owed -= 1
                original(self, *args, **options)
            return original(self, *args, **options)
        finally:
            inside = False

    setattr(kind, name, more)


'''


@dataclass(frozen=True)
class Place:
    """How a suite's package is installed, and where its code can be made slower."""

    install: str
    module: str = ""
    slower: str = ""


PLACES = {
    "cattrs": Place(
        install="pip install -e . pytest pytest-benchmark immutables msgspec orjson",
        module="src/cattrs/__init__.py",
        slower='_slower(BaseConverter, "unstructure")\n',
    ),
    "markdown-it-py": Place(
        install="pip install -e . pytest pytest-benchmark",
        module="markdown_it/__init__.py",
        slower='_slower(MarkdownIt, "render")\n',
    ),
    "pydantic-core": Place(
        install=(
            "pip install pydantic-core==2.50.5 pytest pytest-benchmark dirty-equals "
            "hypothesis inline-snapshot pytest-mock pytest-run-parallel pytest-timeout"
        )
    ),
}


def main() -> None:
    """Run the nights that the arguments ask for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="for the suites")
    parser.add_argument("--only", default="", help="one of the packages")
    parser.add_argument("--nights", type=int, default=10)
    parser.add_argument("--busy", type=int, default=2, help="other processes at work")
    parser.add_argument("--plant", type=float, default=0.0, help="0.3 is 30 %%")
    parser.add_argument("--seconds", type=float, default=0.2, help="for each case")
    parser.add_argument("--keep", default="", help="pytest's -k: some of the cases")
    parser.add_argument("--log", type=Path, help="a line of JSON for each night")
    chosen = parser.parse_args()
    prepare(chosen.folder)
    print("| suite | planted | nights | cases | red | suspects | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for suite in SUITES:
        place = PLACES[suite.package]
        if chosen.only in ("", suite.package) and (place.module or not chosen.plant):
            _report(suite, place, chosen)


def _report(suite: Suite, place: Place, chosen: argparse.Namespace) -> None:
    tree = repository(suite, chosen.folder)
    python = environment(suite, place, tree, chosen.folder)
    if not (tree / "results").exists():
        for night in range(5):
            with busy(chosen.busy * (night % 2)):
                session(python, tree, suite, chosen, "--tl-save")
        words = ("accept", "--reason", "as released")
        _run([str(python), "-m", "tlbench", *words], tree)
    if chosen.plant:
        plant(tree / place.module, place, chosen.plant)
    red, cases, suspects, begin = 0, 0, 0, time.monotonic()
    for night in range(chosen.nights):
        with busy(chosen.busy * (night % 2)):
            gated = ("--tl-gate", "--tl-install", place.install)
            done = session(python, tree, suite, chosen, *gated)
        tail = done.stdout[done.stdout.find("= tlbench =") :]
        count = re.search(r"^(\d+) cases?: ", tail, re.MULTILINE)
        if done.returncode not in (0, 1) or count is None:
            raise SystemExit(done.stdout[-3000:] + done.stderr[-1000:])
        cases += int(count[1])
        tried = re.search(r"(\d+) suspects?: in turn", done.stdout + done.stderr)
        suspects += int(tried[1]) if tried else 0
        red += done.returncode == 1
        if chosen.log:
            line = {"suite": suite.package, "night": night, "code": done.returncode}
            with chosen.log.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**line, "said": tail[:6000]}) + "\n")
    if chosen.plant:
        _run(["git", "checkout", "--quiet", "."], tree)
    seconds = (time.monotonic() - begin) / chosen.nights
    print(
        f"| {suite.package} | {chosen.plant:.0%} | {chosen.nights} | {cases} | {red} "
        f"| {suspects} | {seconds:.0f} |",
        flush=True,
    )


def session(
    python: Path, tree: Path, suite: Suite, chosen: argparse.Namespace, *options: str
) -> "subprocess.CompletedProcess[str]":
    """Run the suite once, with results in its repository."""
    words = [
        *(str(python), "-m", "pytest", suite.path, "-q", "-W", "ignore"),
        *("-p", "no:cacheprovider", "--tl-results", "results"),
        "--benchmark-enable",  # pydantic-core's own options switch the timing off
        *(f"--benchmark-max-time={chosen.seconds}", "-k", chosen.keep, *options),
    ]
    return subprocess.run(words, cwd=tree, capture_output=True, text=True, check=False)


def repository(suite: Suite, folder: Path) -> Path:
    """Return a git repository with a suite and its package, made once."""
    tree = folder / "gates" / suite.package
    if not tree.exists():
        shutil.copytree(source_of(suite, folder), tree)
        (tree / ".gitignore").write_text("results/\n__pycache__/\n", encoding="utf-8")
        for words in (
            ("init", "--quiet"),
            ("add", "--all", "--force"),
            (
                "-c",
                "user.name=a",
                "-c",
                "user.email=a@b",
                "commit",
                "-qm",
                suite.version,
            ),
        ):
            _run(["git", *words], tree)
    return tree


def environment(suite: Suite, place: Place, tree: Path, folder: Path) -> Path:
    """Return an interpreter with the package of a tree and tlbench, made once."""
    # Releases ask git for their version, and these repositories have no tags.
    os.environ["SETUPTOOLS_SCM_PRETEND_VERSION"] = suite.version
    home = folder / "gates" / f"{suite.package}-env"
    python = home / "bin" / "python"
    whole = home / "whole"  # not what an interrupted run left
    if not whole.exists():
        venv.create(home, with_pip=True, clear=True)
        command = place.install.split()[1:]
        _run([str(python), "-m", "pip", "--quiet", *command, str(BENCH)], tree)
        whole.touch()
    # As it is now: an installation of before would be judged.
    again = ("install", "--quiet", "--no-deps", "--force-reinstall", str(BENCH))
    _run([str(python), "-m", "pip", *again], tree)
    return python


def plant(module: Path, place: Place, share: float) -> None:
    """Make a function of the package slower, in the working tree alone."""
    text = module.read_text(encoding="utf-8")
    code = PLANT.replace("SHARE", repr(share)) + place.slower
    module.write_text(text + code, encoding="utf-8")


def _run(words: list[str], folder: Path) -> None:
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(words)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")


if __name__ == "__main__":
    main()
