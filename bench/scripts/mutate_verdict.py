"""Break the verdict's code on purpose, and count which breaks the tests find.

Mutants of the modules in `tlbench.verdicts`, made and run by mutmut in a folder of
their own with the tests of that folder. Prints the share that was killed; exits 1 below
the target.

    tox -e mutation
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
        subprocess.run([*mutmut, "run", *processes], cwd=folder, check=True)
        subprocess.run([*mutmut, "results"], cwd=folder, check=True)
        subprocess.run([*mutmut, "export-cicd-stats"], cwd=folder, check=True)
        counts = json.loads((folder / "mutants/mutmut-cicd-stats.json").read_text())
    killed = counts["killed"] + counts["timeout"]
    share = killed / counts["total"]
    print(f"{killed} of {counts['total']} mutants killed: {share:.1%}")
    return 0 if share >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
