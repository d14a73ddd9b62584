"""Break the verdict's code on purpose, and count which breaks the tests find.

Mutants of the modules in `tlbench.verdicts`, made and run by mutmut in a folder of
their own with the tests of that folder. Prints the share that was killed; exits 1 below
the target.

    tox -e mutation                            # all of them: an hour on two cores
    tox -e mutation -- --ending 3 --ending 7   # those whose numbers end so: a fifth
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import tlbench

TARGET = 0.90
SIMULATIONS = (
    "rarely or hardly_ever or slowdown or alarms_no_case or two_points or drawn_again "
    "or few_sessions"
)
"""Tests that are left out: hundreds of simulated runs, minutes for each mutant."""

TESTS = Path(__file__).parents[2] / "tests" / "tlbench" / "verdicts"


def main() -> int:
    """Run the mutants; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--ending",
        action="append",
        default=[],
        metavar="DIGIT",
        help="only mutants whose number within their function ends with it",
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(aside)
        package = Path(tlbench.__file__).parent
        shutil.copytree(package, folder / "tlbench")
        shutil.copytree(TESTS, folder / "tests")
        paths = (path.relative_to(package) for path in package.rglob("*.py"))
        others = sorted(path for path in paths if path.parts[0] != "verdicts")
        lines = ["[mutmut]", "source_paths=tlbench/", "do_not_mutate="]
        lines += [f"    *tlbench/{path.as_posix()}" for path in others]
        lines += ["pytest_add_cli_args_test_selection=", "    tests/"]
        lines += ["pytest_add_cli_args=", "    --import-mode=importlib"]
        lines += ["    -k", f"    not ({SIMULATIONS})"]
        (folder / "setup.cfg").write_text("\n".join(lines) + "\n", encoding="utf-8")
        mutmut = [sys.executable, "-m", "mutmut"]
        processes = ["--max-children", str(arguments.processes)]
        some = [f"*__mutmut_*{digit}" for digit in arguments.ending]
        subprocess.run([*mutmut, "run", *processes, *some], cwd=folder, check=True)
        subprocess.run([*mutmut, "results"], cwd=folder, check=True)
        subprocess.run([*mutmut, "export-cicd-stats"], cwd=folder, check=True)
        counts = json.loads((folder / "mutants/mutmut-cicd-stats.json").read_text())
    killed = counts["killed"] + counts["timeout"]
    alive = ("survived", "suspicious", "no_tests", "segfault")
    tried = killed + sum(counts[name] for name in alive)
    share = killed / tried
    print(f"{killed} of {tried} mutants killed: {share:.1%}; {counts['total']} in all")
    return 0 if share >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
