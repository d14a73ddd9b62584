"""Compare foreign suites with themselves, and with something planted, many times.

The suites are those of cattrs, markdown-it-py and pydantic-core: their sources come
from PyPI into a folder, the packages into an environment of their own there. In a
session both sides are the same code, or some cases of head do more of their own work.
With `--busy N` so many other processes work meanwhile. Prints how many of the rows were
flagged, and how many of the planted ones were found, as Markdown.

    python bench/scripts/ab_sessions.py --folder /tmp/suites --sessions 10
    python bench/scripts/ab_sessions.py --folder /tmp/suites --busy 2 --plant 0.05
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.request
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urljoin

import tlbench
from tlbench.pairing.comparison import Comparison, compare
from tlbench.pairing.pairs import Launch
from tlbench.pairing.sides import Side

INDEX = "https://pypi.org/pypi"

# What upstream's `benchmarking/bench_core.py` does, with the text of its own sdist.
MARKDOWN_SUITE = """
from pathlib import Path
import markdown_it
SPEC = Path(__file__).parent / "tests" / "test_cmark_spec" / "spec.md"
def test_spec(benchmark):
    parser = markdown_it.MarkdownIt("commonmark")
    benchmark(parser.render, SPEC.read_text(encoding="utf-8"))
"""

PLANT = '''
"""Lets some cases of pytest-benchmark do more of their own work."""
import os
import time
from itertools import repeat
from pytest_benchmark.fixture import BenchmarkFixture
SHARE = float(os.environ["PLANT_SHARE"])
CASES = set(os.environ["PLANT_CASES"].split("\\n"))
make_runner = BenchmarkFixture._make_runner

def turns(count):
    start = time.perf_counter()
    for _ in repeat(None, count):
        pass
    return time.perf_counter() - start

def planted(self, work, *args):
    runner = make_runner(self, work, *args)
    if self.fullname not in CASES or not SHARE:
        return runner
    a_turn = min(turns(10_000) for _ in range(20)) / 10_000
    owed, more = 0.0, 0
    def slowed(*given, **named):
        result = work(*given, **named)
        for _ in repeat(None, more):
            pass
        return result
    slow = make_runner(self, slowed, *args)
    def planting(loops, *timer):
        nonlocal owed, more
        extra = len(loops or ()) * SHARE
        if extra >= 1:
            owed += extra  # fractions of a call are kept for the next round
            whole, owed = int(owed), owed % 1
            return runner(range(len(loops) + whole), *timer)
        # Few calls a round: each is slowed. One call more in some rounds only would
        # be an outlier, as no slower code makes them.
        if not more:
            seconds = min(runner(range(1), *timer) for _ in range(20))
            more = max(1, round(seconds * SHARE / a_turn))
        return slow(loops, *timer)
    return planting
BenchmarkFixture._make_runner = planted
'''


@dataclass(frozen=True)
class Suite:
    """A package of the index, and the suite in its source distribution."""

    package: str
    version: str
    path: str
    needs: tuple[str, ...] = ()


SUITES = (
    Suite("cattrs", "26.2.1", "bench", ("immutables", "msgspec", "orjson", "ujson")),
    Suite("markdown-it-py", "4.3.0", "test_bench_spec.py"),
    Suite(
        "pydantic-core",
        "2.50.5",
        "tests/benchmarks",
        (
            *("dirty-equals", "hypothesis", "inline-snapshot", "pytest-mock"),
            *("pytest-run-parallel", "pytest-timeout"),
        ),
    ),
)


def main() -> None:
    """Run the sessions that the arguments ask for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="for the suites")
    parser.add_argument("--only", default="", help="one of the packages")
    parser.add_argument("--sessions", type=int, default=3)
    parser.add_argument("--busy", type=int, default=0, help="other processes at work")
    parser.add_argument("--plant", type=float, default=0.0, help="0.05 is 5 %%")
    parser.add_argument("--cases", type=int, default=0, help="how many; 0 is all")
    parser.add_argument("--seed", type=int, default=0, help="of the first session")
    parser.add_argument("--planted", type=int, default=4, help="how many are slowed")
    parser.add_argument("--budget", type=float, default=300)
    parser.add_argument("--log", type=Path, help="a line of JSON for each session")
    chosen = parser.parse_args()
    python = prepare(chosen.folder)
    print("| suite | busy | planted | sessions | rows | false | found | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for suite in SUITES:
        if chosen.only in ("", suite.package):
            with busy(chosen.busy):
                _report(suite, python, chosen)


def _report(suite: Suite, python: Path, chosen: argparse.Namespace) -> None:
    rows = false = found = planted = 0
    seconds = 0.0
    for number in range(chosen.sessions):
        one = session(suite, python, chosen, seed=chosen.seed + number)
        rows += one["rows"]
        false += len(one["false"])
        found += len(one["found"])
        planted += one["planted"]
        seconds += one["seconds"]
        if chosen.log:
            with chosen.log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(one) + "\n")
    share = f"{found} of {planted}" if planted else ""
    print(
        f"| {suite.package} | {chosen.busy} | {chosen.plant:.0%} | {chosen.sessions} "
        f"| {rows} | {false} | {share} | {seconds / chosen.sessions:.0f} |",
        flush=True,
    )


def session(
    suite: Suite, python: Path, chosen: argparse.Namespace, *, seed: int
) -> dict[str, object]:
    """Compare a suite with itself once; return what was flagged."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    folder = source_of(suite, chosen.folder)
    cases = collected(python, folder, suite.path)
    if chosen.cases:
        cases = sorted(draw.sample(cases, chosen.cases))
    slowed = draw.sample(cases, chosen.planted) if chosen.plant else []
    begin = time.monotonic()
    done = compared(
        python,
        folder,
        suite.path,
        plant=PLANT,
        share=chosen.plant,
        environ={"PLANT_CASES": "\n".join(slowed)},
        options=("-W", "ignore"),
        budget=chosen.budget,
        only=cases,
    )
    flagged = {
        row.case: str(row.findings[0])
        for row in done.rows
        if row.verdict in ("regression", "improvement")
    }
    return {
        "suite": suite.package,
        "seed": seed,
        "rows": len(done.rows) - len(slowed),
        "false": {case: why for case, why in flagged.items() if case not in slowed},
        "found": [case for case in slowed if case in flagged],
        "planted": len(slowed),
        "undecided": [r.case for r in done.rows if r.verdict == "inconclusive"],
        "pairs": done.pairs,
        "load": os.getloadavg()[0],
        "seconds": time.monotonic() - begin,
    }


def prepare(folder: Path) -> Path:
    """Fetch the sources and install the packages, once; return the interpreter."""
    folder.mkdir(parents=True, exist_ok=True)
    python = folder / "env" / "bin" / "python"
    for suite in SUITES:
        source = source_of(suite, folder)
        if not source.is_dir():
            _fetch(suite, folder)
        if suite.package == "markdown-it-py":
            (source / suite.path).write_text(MARKDOWN_SUITE, encoding="utf-8")
    if not python.exists():
        venv.create(folder / "env", with_pip=True)
        names = ["pytest", "pytest-benchmark"]
        for suite in SUITES:
            names += [f"{suite.package}=={suite.version}", *suite.needs]
        command = [str(python), "-m", "pip", "install", "--quiet", *names]
        subprocess.run(command, check=True)
    return python


def source_of(suite: Suite, folder: Path) -> Path:
    """Return the folder of a suite's sources."""
    return folder / f"{suite.package.replace('-', '_')}-{suite.version}"


def _fetch(suite: Suite, folder: Path) -> None:
    address = f"{INDEX}/{suite.package}/json"
    with urllib.request.urlopen(address) as answer:  # noqa: S310 - an address of https
        files = json.load(answer)["releases"][suite.version]
    url = next(one["url"] for one in files if one["packagetype"] == "sdist")
    with (
        urllib.request.urlopen(urljoin(address, url)) as answer,  # noqa: S310 - as above
        tarfile.open(fileobj=answer, mode="r|gz") as archive,
    ):
        archive.extractall(folder, filter="data")


def collected(python: Path, folder: Path, path: str) -> list[str]:
    """Return the cases of a suite that use the fixture `benchmark`."""
    words = ("-m", "pytest", "--collect-only", "-q", "-W", "ignore", path)
    done = subprocess.run(
        [str(python), *words], cwd=folder, capture_output=True, text=True, check=False
    )
    found = [line for line in done.stdout.splitlines() if "::" in line]
    if not found:
        raise SystemExit(f"{path} has no cases: {done.stdout}{done.stderr}")
    return found


def compared(
    python: Path,
    folder: Path,
    path: str,
    *,
    plant: str,
    share: float,
    budget: float,
    only: Sequence[str],
    environ: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
) -> Comparison:
    """Compare a suite with itself; head does a planted share of its work more.

    Args:
        python: the interpreter of both sides.
        folder: of the suite's project.
        path: of the suite, within the folder.
        plant: the code of a pytest plugin that reads PLANT_SHARE.
        share: of the work; 0.05 is 5 %.
        budget: the seconds that all pairs may take together.
        only: the cases to compare.
        environ: more variables for both sides.
        options: more options for pytest.
    """
    with TemporaryDirectory() as aside:
        (Path(aside) / "plant.py").write_text(plant, encoding="utf-8")
        tool = Path(aside) / "tool"
        shutil.copytree(Path(tlbench.__file__).parent, tool / "tlbench")
        sides = [
            Side(
                name=name,
                title=name,
                python=python,
                folder=folder,
                tree=None,
                commit="",
                environ={
                    **os.environ,
                    **(environ or {}),
                    "PYTHONPATH": aside,
                    "PLANT_SHARE": f"{share * (name == 'head'):.4f}",
                },
            )
            for name in ("base", "head")
        ]
        return compare(
            Launch(
                sides=(sides[0], sides[1]),
                paths=(path,),
                options=("-p", "plant", *options),
                tool=tool,
                aside=Path(aside),
            ),
            say=lambda line: print(line, file=sys.stderr),
            budget=budget,
            only=only,
        )


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep so many processes at work."""
    program = "while True: sum(i * i for i in range(100_000))"
    others: Sequence[subprocess.Popen[bytes]] = [
        subprocess.Popen([sys.executable, "-c", program]) for _ in range(count)
    ]
    try:
        yield
    finally:
        for one in others:
            one.kill()
            one.wait()


if __name__ == "__main__":
    main()
