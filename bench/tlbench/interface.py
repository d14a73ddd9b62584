"""What a suite and its users see of the plugin: options, and hooks for conftests.

Apart from `plugin`, because the processes of a paired comparison declare the same and
record differently (`pairing.worker`).
"""

from collections.abc import Mapping
from typing import Any

import pytest


class Specification:
    """The hooks that suites may implement."""

    @pytest.hookspec
    def pytest_tlbench_identity(self, config: pytest.Config) -> Mapping[str, Any]:
        """Return what else must match for the figures of two runs to be compared.

        Plain JSON values by name, such as a precision policy. The field `backend` is
        also part of the key that costs are accepted under.
        """
        raise NotImplementedError


def add_options(parser: pytest.Parser) -> None:
    """Add the options of the group `tlbench`."""
    group = parser.getgroup("tlbench", "recorded values and their baselines (tlbench)")
    group.addoption(
        "--tl-results",
        metavar="DIR",
        help="folder of the baselines (default: results, in the rootdir); every case "
        "that uses the fixture benchmark is recorded",
    )
    group.addoption(
        "--tl-gate",
        action="store_true",
        help="a finding, such as a case without a baseline, makes the session fail",
    )
    group.addoption(
        "--tl-save",
        action="store_true",
        help="append this run to the history of the machine",
    )
    group.addoption(
        "--tl-confirm",
        metavar="N",
        type=_times,
        default=0,
        help="run a case that looks worse N times again in fresh processes, and judge "
        "it by those (default: 0)",
    )
    group.addoption(
        "--tl-report",
        metavar="DIR",
        help="write report.html and report.md there",
    )
    group.addoption(
        "--tl-install",
        metavar="COMMAND",
        default="",
        help="how a side is installed when --tl-gate compares a suspect with its "
        "accepted commit (default: install under [tool.tlbench], or pip install -e .)",
    )
    group.addoption(
        "--tl-unknown",
        choices=("warn", "fail", "ab"),
        default="",
        help="what --tl-gate does on a machine that no figure was accepted for: warn, "
        "fail, or compare every case in turn with a base commit (default: unknown "
        "under [tool.tlbench], or ab where there is a base commit, else fail)",
    )
    group.addoption(
        "--tl-base",
        metavar="COMMIT",
        default="",
        help="the base commit of --tl-unknown ab (default: the merge base with the "
        "branch that a pull request is for, or with that of origin)",
    )
    # How a fresh process hands its records back to the session that started it.
    group.addoption("--tl-records", metavar="FILE", help="for tlbench itself")
    # What it repeats: the records of that session.
    group.addoption("--tl-repeat", metavar="FILE", help="for tlbench itself")


def _times(text: str) -> int:
    # argparse turns a ValueError into a usage error, exit code 4.
    if not text.isdigit():
        raise ValueError(
            f"--tl-confirm must be 0 or more. Received: {text!r}. Pass for instance 3."
        )
    return int(text)
