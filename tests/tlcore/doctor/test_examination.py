"""Doctor: the questions, what an answer can be, and what the installed stack says."""

import importlib.metadata
import random
import sys

import keras
import numpy as np
import pytest

from tlcore.doctor import examination as doctor
from tlcore.doctor import probes
from tlcore.doctor.examination import Finding, examine, installed_stack, judge
from tlcore.doctor.questions import PROBES, find_probe

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.tensorflow

IDS = [f"A{number}" for number in range(1, 16) if number != 3]
IN_PROCESS = [probe.id for probe in PROBES.values() if not probe.in_processes]
LINE = 67
"""Columns that code has on a terminal of 80."""

KERAS = tuple(int(part) for part in keras.__version__.split(".")[:2])


def draw():
    layer = keras.layers.Dense(2)
    layer.build((None, 2))
    legacy = np.random.rand()  # noqa: NPY002 - Keras draws from it
    numbers = random.random(), legacy, float(tf.random.uniform(()))
    return [*numbers, *np.array(layer.kernel).ravel()]


@pytest.fixture(scope="module")
def examined():
    """What is found, with the random numbers drawn after it, and without it."""
    keras.utils.set_random_seed(3)
    findings = {finding.probe.id: finding for finding in examine(IN_PROCESS)}
    after = draw()
    keras.utils.set_random_seed(3)
    return findings, after, draw()


class TestQuestions:
    def test_there_is_one_for_everything_that_befalls_a_user(self):
        assert list(PROBES) == IDS

    @pytest.mark.parametrize("probe", PROBES.values(), ids=IDS)
    def test_each_has_its_words_and_its_experiment(self, probe):
        assert probe.fact
        assert probe.here
        assert "FINDINGS" not in str(probe)
        found = hasattr(probes, probe.name.replace("-", "_"))
        assert found is not probe.in_processes

    @pytest.mark.parametrize("probe", PROBES.values(), ids=IDS)
    def test_what_to_write_is_code_that_fits_a_terminal(self, probe):
        compile(probe.remedy, probe.name, "exec")
        assert max(map(len, probe.remedy.splitlines())) <= LINE

    def test_it_is_found_by_id_and_by_name(self):
        assert find_probe("a4") is find_probe("A4") is PROBES["A4"]
        assert find_probe("five-and-five") is PROBES["A8"]

    def test_an_unknown_one_is_answered_with_the_ids(self):
        with pytest.raises(
            ValueError, match=r"one of: A1, A2, A4.*A15.*Received: question='A3'"
        ):
            find_probe("A3")

    def test_a_misspelt_name_is_answered_with_the_right_one(self):
        with pytest.raises(ValueError, match="Did you mean 'wrong-monitor'"):
            examine(["A8", "wrong-monitors"])


class TestAnswers:
    @pytest.mark.parametrize(
        ("affected", "status"), [(True, "affected"), (False, "not affected")]
    )
    def test_it_is_what_the_experiment_found(self, affected, status):
        finding = judge(PROBES["A8"], lambda: (affected, "5 + 5 ran 11 epochs"))
        assert finding == Finding(PROBES["A8"], status, "5 + 5 ran 11 epochs")

    def test_an_exception_is_no_answer_and_is_told(self):
        def trial():
            raise ImportError("no module\n  of that name")

        finding = judge(PROBES["A8"], trial)
        assert finding.status == "cannot tell"
        assert finding.evidence == "ImportError: no module of that name"

    def test_an_exception_without_words_is_told_by_its_name(self):
        assert judge(PROBES["A8"], lambda: next(iter(()))).evidence == "StopIteration"

    def test_an_interruption_passes(self):
        def trial():
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            judge(PROBES["A8"], trial)

    def test_as_plain_values_it_holds_the_question_too(self):
        told = Finding(PROBES["A1"], "affected", "51 %").as_dict()
        assert told == {
            "id": "A1",
            "name": "training-argument",
            "fact": PROBES["A1"].fact,
            "here": PROBES["A1"].here,
            "remedy": PROBES["A1"].remedy,
            "source": "keras#23364",
            "status": "affected",
            "evidence": "51 %",
        }


class TestExamine:
    # The bench suites ask the same questions in the main job.
    @pytest.mark.matrix
    @pytest.mark.parametrize("name", IN_PROCESS)
    def test_every_question_is_answered_here(self, examined, name):
        finding = examined[0][name]
        assert finding.status in {"affected", "not affected"}, finding.evidence

    @pytest.mark.matrix
    def test_random_numbers_go_on_as_if_nothing_had_been(self, examined):
        _, after, without = examined
        assert after == without

    @pytest.mark.skipif(
        KERAS >= (3, 16), reason="what Keras 3.16 and later say is not known yet"
    )
    @pytest.mark.matrix
    @pytest.mark.parametrize("name", ["A1", "A4", "A5", "A6"])
    def test_what_is_known_of_this_keras_is_found(self, examined, name):
        finding = examined[0][name]
        assert finding.status == "affected", finding.evidence

    def test_processes_start_first_and_are_asked_last(self, monkeypatch):
        order = []

        class Workers:
            def __init__(self, *, seconds):
                order.append(seconds)

            def __enter__(self):
                order.append("started")
                return self

            def __exit__(self, *_):
                order.append("gone")

            def observe(self):
                order.append("asked")
                return True, "PerReplica"

        monkeypatch.setattr(doctor, "TwoWorkers", Workers)
        findings = examine(
            ["A11", "A8", "a11"], worker_seconds=3, say=lambda p: order.append(p.id)
        )
        assert order == [3, "started", "A8", "A11", "asked", "gone"]
        assert [finding.probe.id for finding in findings] == ["A11", "A8"]

    def test_a_program_that_cannot_be_started_is_no_answer(self, monkeypatch):
        def fail(**_):
            raise OSError("no more processes")

        monkeypatch.setattr(doctor, "TwoWorkers", fail)
        (finding,) = examine(["A11"])
        assert finding.status == "cannot tell"
        assert finding.evidence == "OSError: no more processes"

    def test_a_keras_that_cannot_be_loaded_is_no_answer(self, monkeypatch):
        # As with KERAS_BACKEND=jax where there is no jax.
        monkeypatch.delattr("tlcore.doctor.probes")
        monkeypatch.setitem(sys.modules, "tlcore.doctor.probes", None)
        findings = examine(["A1", "A8"])
        assert [finding.status for finding in findings] == ["cannot tell"] * 2
        assert "ModuleNotFoundError" in findings[0].evidence or (
            "ImportError" in findings[0].evidence
        )


class TestStack:
    def test_versions_are_those_installed(self):
        stack = installed_stack()
        assert stack.versions["keras"] == keras.__version__
        assert stack.backend == keras.backend.backend()
        assert stack.devices

    def test_what_is_missing_is_none(self, monkeypatch):
        def version(name):
            if name in {"tensorflow", "tf-keras", "tf-keras-nightly"}:
                raise importlib.metadata.PackageNotFoundError(name)
            return f"of {name}"

        monkeypatch.setattr(importlib.metadata, "version", version)
        told = installed_stack().as_dict()["versions"]
        assert told["tensorflow"] == "of tensorflow-cpu"
        assert told["tf_keras"] is None

    def test_a_keras_that_cannot_be_loaded_is_told(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "keras", None)
        stack = installed_stack()
        assert stack.backend.startswith("none (ModuleNotFoundError: ")
        assert stack.devices == ()
