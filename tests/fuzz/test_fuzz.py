"""Odd input of every kind: refused with a sentence, never a traceback, hang or death.

By default a few of each kind are tried in this process. `tox -e fuzz` tries more than
20,000, in processes of their own. A defect is made again by its target and number:

    python -c "from tests.fuzz.targets import attempt; attempt('image', 7, '/tmp')"
"""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from .targets import BY_NAME, TARGETS, attempt
from .worker import SECONDS

ROOT = Path(__file__).parents[2]
CHUNK = 250
QUICK = {"keras_file": 6, "results": 6, "run_page": 4, "arguments": 10, "note": 6}
"""How many are tried by default where it is not 14."""


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", BY_NAME)
def test_some_odd_inputs_are_refused_with_a_sentence(name, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged images and foreign layers
        for number in range(QUICK.get(name, 14)):
            attempt(name, number, tmp_path)


def test_as_many_as_promised_are_tried():
    assert sum(TARGETS.values()) >= 20_000


def tried(name, first, last):
    """Try inputs in a process, and in another behind each that it died of."""
    defects = []
    while first < last:
        command = [sys.executable, "-m", "tests.fuzz.worker", name, first, last]
        done = subprocess.run(
            list(map(str, command)), cwd=ROOT, capture_output=True, check=False
        )
        told = [json.loads(x) for x in done.stdout.splitlines() if x.startswith(b"{")]
        at = first - 1
        for message in told:
            at = message.get("number", at)
            if "defect" in message:
                defects.append(f"{name} {at}:\n{message['defect']}")
        if told and told[-1].get("done"):
            break
        words = done.stderr.decode(errors="replace")[-1_500:]
        what = f"hung for {SECONDS} s" if done.returncode == -14 else "died"
        defects.append(f"{name} {at}: {what} ({done.returncode})\n{words}")
        first = max(at, first) + 1
    return defects


@pytest.mark.slow
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize(
    ("name", "first"),
    [
        pytest.param(target.__name__, first, id=f"{target.__name__}-{first}")
        for target, count in TARGETS.items()
        for first in range(0, count, CHUNK)
    ],
)
def test_thousands_of_odd_inputs_are_refused_with_a_sentence(name, first):
    last = min(first + CHUNK, TARGETS[BY_NAME[name]])
    defects = tried(name, first, last)
    assert not defects, "\n\n".join(defects[:10])


def test_a_death_and_a_defect_are_told(monkeypatch):
    code = (
        'import sys; print(\'{"number": 4}\'); print(\'{"defect": "E"}\');'
        "print('{\"number\": 5}'); sys.stdout.flush();"
        "sys.exit(3) if '0' in sys.argv[2] else print('{\"done\": true}')"
    )
    real = subprocess.run

    def scripted(command, **options):
        return real([sys.executable, "-c", code, *command[3:]], **options)

    monkeypatch.setattr(subprocess, "run", scripted)
    first, death, again = tried("image", 0, 9)
    assert first == again == "image 4:\nE"
    assert death.startswith("image 5: died (3)")
