"""The GPU session: steps are taken once, in order, within a budget."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "bench/scripts/gpu_session.py"


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("gpu_session", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def session(program, tmp_path, monkeypatch):
    """Return a session whose steps write their names; `code` says how one ends."""
    written, codes = tmp_path / "written", {}
    made = program.Session(tmp_path, "jax", runs=2, small=True, workers=1)
    (tmp_path / "results").mkdir()

    def steps(self):
        names = ("compile", "run 1", "run 2", "accept", "verdict", "report")
        code = "import sys; open(sys.argv[1], 'a').write(sys.argv[2] + '\\n'); "
        return {
            name: [
                *(sys.executable, "-c", f"{code}sys.exit({codes.get(name, 0)})"),
                *(str(written), name),
            ]
            for name in names
        }

    monkeypatch.setattr(program.Session, "steps", steps)
    return made, codes, lambda: written.read_text().splitlines()


FOREVER = float("inf")


def clock(*seconds):
    """Return a clock that shows these moments, then the last one for ever."""
    moments = list(seconds)
    return lambda: moments.pop(0) if len(moments) > 1 else moments[0]


def test_every_step_is_taken_once_and_never_again(program, session):
    made, _, written = session
    assert program.take(made, FOREVER, clock(0)) == program.DONE
    names = ["compile", "run 1", "run 2", "accept", "verdict", "report"]
    assert written() == names
    assert program.take(made, FOREVER, clock(0)) == program.DONE
    assert written() == names


def test_it_goes_on_behind_a_step_that_failed(program, session):
    made, codes, written = session
    codes["run 2"] = 1
    assert program.take(made, FOREVER, clock(0)) == program.FAILED
    codes.clear()
    assert program.take(made, FOREVER, clock(0)) == program.DONE
    assert written()[:4] == ["compile", "run 1", "run 2", "run 2"]


def test_a_regression_is_a_result(program, session):
    made, codes, written = session
    codes["verdict"] = 1
    assert program.take(made, FOREVER, clock(0)) == program.DONE
    assert written()[-1] == "report"


def test_without_a_verdict_it_failed(program, session):
    made, codes, _ = session
    codes["verdict"] = 2
    assert program.take(made, FOREVER, clock(0)) == program.FAILED


def test_half_a_mark_of_a_killed_session_is_no_mark(program, session):
    made, _, written = session
    mark = json.dumps({"step": "compile", "seconds": 1.0, "code": 0})
    (made.folder / "steps.jsonl").write_text(f'{mark}\n{{"step": "run 1", "sec')
    assert program.take(made, FOREVER, clock(0)) == program.DONE
    assert written()[0] == "run 1"


def test_no_step_is_begun_that_would_not_end_within_the_budget(
    program, session, capsys
):
    made, _, written = session
    # Two steps of 100 s each, and 150 s are over when the third would begin.
    moments = clock(0, 0, 0, 100, 100, 100, 200, 250)
    assert program.take(made, 300, moments) == program.LEFT
    assert written() == ["compile", "run 1"]
    assert "run 2: not begun, 50 s are left" in capsys.readouterr().out


def test_the_steps_of_a_real_session(program, tmp_path):
    made = program.Session(tmp_path, "jax", runs=5, small=False, workers=4)
    steps = made.steps()
    runs = [f"run {number}" for number in range(1, 6)]
    judged = ["accept", "judged run", "verdict", "report", "status"]
    assert list(steps) == ["compile", *runs, *judged]
    assert "--tl-save" in steps["run 1"]
    assert "--tl-save" not in steps["compile"]
    # It would install two commits to compare them.
    assert not any("--tl-gate" in command for command in steps.values())
    assert made.environment()["KERAS_BACKEND"] == "jax"
    torch = program.Session(tmp_path, "torch", runs=5, small=True, workers=4)
    assert "compile" not in torch.steps()
    assert "--small" in torch.steps()["run 1"]
