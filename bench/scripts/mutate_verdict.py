"""Break the verdict's code on purpose, and count which breaks the tests find.

Mutants of `tlbench.noise` and `tlbench.verdict`, made and run by mutmut in a folder of
their own with the tests of both modules. Prints the share that was killed; exits 1
below the target.

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
MODULES = ("noise", "verdict")
SIMULATIONS = "rarely or slowdown or alarms_no_case or two_points or drawn_anew"
"""Tests that are left out: nights by the hundred, minutes for every mutant."""

TESTS = Path(__file__).parents[2] / "tests" / "tlbench"


def main() -> int:
    """Run the mutants; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(aside)
        package = Path(tlbench.__file__).parent
        shutil.copytree(package, folder / "tlbench")
        (folder / "tests").mkdir()
        for module in MODULES:
            shutil.copy(TESTS / f"test_{module}.py", folder / "tests")
        others = {path.name for path in package.glob("*.py")}
        others -= {f"{module}.py" for module in MODULES}
        lines = ["[mutmut]", "source_paths=tlbench/", "do_not_mutate="]
        lines += [f"    */{name}" for name in sorted(others)]
        lines += ["pytest_add_cli_args_test_selection=", "    tests/"]
        lines += ["pytest_add_cli_args=", "    -k", f"    not ({SIMULATIONS})"]
        (folder / "setup.cfg").write_text("\n".join(lines) + "\n", encoding="utf-8")
        mutmut = [sys.executable, "-m", "mutmut"]
        processes = ["--max-children", str(told.processes)]
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
