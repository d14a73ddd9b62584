"""Sessions inside sessions: `pytester`, and baselines for them."""

from collections.abc import Callable
from pathlib import Path

import jinja2  # noqa: F401 - as scipy
import pytest
import scipy.special  # noqa: F401 - sessions within load no extension twice

from tlbench.git import LOCATIONS
from tlbench.record import Exact
from tlbench.storage.baselines import Acceptance, Baseline, Baselines, write_accepted

Write = Callable[[dict[str, dict[str, Exact]]], Path]


def pytest_configure(config: pytest.Config) -> None:
    # pytest refuses `pytest_plugins` in a conftest below the top; this works anywhere.
    config.pluginmanager.import_plugin("pytester")


@pytest.fixture(autouse=True)
def _sessions_within(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "pytester" in request.fixturenames:
        request.getfixturevalue("pytester")  # first, as it clears PYTEST_ADDOPTS
    # At its end each session would import Hypothesis again: a second every time.
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest")
    # In a worker of pytest-xdist pytest-benchmark would time nothing.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)


CLOCK = """
    import time

    import pytest

    now = 0.0

    def clock():
        global now
        # It moves a little with every look: pytest-benchmark waits until it has.
        now += 1e-9
        return now

    def sleep(seconds):
        global now
        now += seconds

    @pytest.fixture(autouse=True)
    def scripted(monkeypatch):
        monkeypatch.setattr(time, "sleep", sleep)
"""


@pytest.fixture
def scripted_clock(pytester: pytest.Pytester) -> str:
    """Give sessions within a clock that only `time.sleep` moves; return the option."""
    pytester.makeconftest(CLOCK)
    pytester.syspathinsert()
    return "--benchmark-timer=conftest.clock"


@pytest.fixture
def acceptance() -> Acceptance:
    return Acceptance(
        by="Ada", when="2025-01-01T12:00:00+00:00", reason="first", evidence="0" * 64
    )


@pytest.fixture
def baseline(pytester: pytest.Pytester, acceptance: Acceptance) -> Write:
    """Write accepted exact values where a session of `pytester` looks for them."""

    def write(cases: dict[str, dict[str, Exact]]) -> Path:
        results = pytester.path / "results"
        baselines = {
            case: Baseline(exact=exact, accepted=acceptance)
            for case, exact in cases.items()
        }
        write_accepted(results, Baselines(cases=baselines))
        return results

    return write


@pytest.fixture
def own_git(tmp_path, monkeypatch):
    """Let git know a user of the tests, and nothing of the one who runs them."""
    settings = tmp_path / "gitconfig"
    settings.write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in LOCATIONS:  # the tests may run in a hook of git
        monkeypatch.delenv(name, raising=False)
