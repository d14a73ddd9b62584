"""Start-up: what a user waits for before the first epoch, in a fresh process."""

import json
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

ROUNDS = 3

SCRIPT = """
import json, time
marks = {}

def clocks():
    return time.perf_counter(), time.process_time()

def mark(name):
    global start
    now = clocks()
    marks[name], start = [b - a for a, b in zip(start, now)], now

start = clocks()

import tlcore as tl
mark("import_tlcore")
import keras
mark("import_keras")
model = tl.create_model("efficientnet_b0", 10, weights=None, input_shape=(96, 96, 3))
mark("build")
model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
mark("compile")
import numpy as np
labels = np.eye(10, dtype="float32")[:8]
model.train_on_batch(np.zeros((8, 96, 96, 3), "float32"), labels)
mark("trace")
import sys
sys.path.append(SUITES)
from costs import peak_memory
print(json.dumps({"seconds": marks, "memory": peak_memory()}))
""".replace("SUITES", repr(str(Path(__file__).parent)))


@pytest.mark.matrix
def bench_startup(record):
    """Seconds to import, build, compile and trace EfficientNetB0, and peak memory."""
    rounds = []
    for _ in range(ROUNDS):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
        )
        rounds.append(json.loads(done.stdout.splitlines()[-1]))
    for name in rounds[0]["seconds"]:
        seconds, spent = zip(*(told["seconds"][name] for told in rounds), strict=True)
        record.timing(name, seconds, warmup=0, cpu=spent)
    for name in rounds[0]["memory"]:
        peak = median(told["memory"][name] for told in rounds)
        record.memory(f"{name}_peak", round(peak))


@pytest.mark.parametrize("package", ["tlcore", "tlbench"])
def bench_import_is_light(package, record):
    """Importing a package loads no framework."""
    heavy = ("tensorflow", "keras", "matplotlib", "scipy", "jinja2")
    code = f"import sys, {package}; print(*sorted(set({heavy!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    record.exact("loaded", done.stdout.split())
