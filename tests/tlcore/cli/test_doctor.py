"""`tlcore doctor`: what it prints."""

import json

import click
import keras
import pytest

from tlcore.cli.doctor import _show_finding


class TestDoctor:
    def test_versions_then_a_line_for_every_question(self, tlcore):
        code, out, _ = tlcore("doctor", "A8", "A1")
        assert code == 0
        versions, backend, _, *lines = out.splitlines()
        assert versions.startswith("python 3.")
        assert "setuptools" in versions
        name = keras.backend.backend()
        assert backend.startswith(f"backend: {name}; devices: ")
        assert lines[0] == (
            "A8   affected: initial_epoch=history.epoch[-1] repeats an epoch "
            "(5 + 5 ran 11 epochs)"
        )
        assert lines[2] == "     write: initial_epoch = history.epoch[-1] + 1"
        assert lines[4].startswith("A1   ")

    def test_as_json(self, tlcore):
        code, out, _ = tlcore("doctor", "A8", "--json")
        told = json.loads(out)
        assert code == 0
        assert told["backend"] == keras.backend.backend()
        assert [finding["status"] for finding in told["findings"]] == ["affected"]

    def test_an_unknown_question_is_answered_in_a_sentence(self, tlcore):
        code, out, err = tlcore("doctor", "A16")
        assert (code, out) == (2, "")
        assert "one of: A1, A2, A4" in err

    @pytest.mark.parametrize("status", ["affected", "not affected", "cannot tell"])
    def test_lines_hang_on_a_terminal(self, capsys, monkeypatch, status):
        from tlcore.doctor.examination import Finding
        from tlcore.doctor.questions import PROBES

        monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
        monkeypatch.setenv("COLUMNS", "80")
        for probe in PROBES.values():
            _show_finding(Finding(probe, status, "evidence " * 20))
            lines = click.unstyle(capsys.readouterr().out).splitlines()
            assert lines[0].startswith(f"{probe.id:<5}{status}: {probe.fact[:9]}")
            assert all(line.startswith("     ") for line in lines[1:] if line)
            assert max(map(len, lines)) < 80
            told = any("write: " in line for line in lines)
            assert told is (status == "affected")
