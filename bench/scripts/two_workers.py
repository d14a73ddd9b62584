"""Time the feature pass of one worker and of two, and compare what they wrote.

One worker has one core, two have one each. What they share out is the pass: a process
that loads a framework and a model first pays for that once, whatever the number of
images, so that it is shown apart.

    python bench/scripts/two_workers.py PHOTOGRAPHS --rounds 3
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

from tlcore.backend import seam
from tlcore.caching.entry import read_features

PROGRAM = """
import json, os, sys, time
directory, cache, workers, backbone = sys.argv[1:]
if workers == "1":
    # Before a framework counts the cores: else images are decoded on the other one.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
import keras
import tlcore as tl

keras.utils.set_random_seed(1)
data = tl.image_folder(directory, image_size=(224, 224))
model = tl.create_model(backbone, data.num_classes, weights=None)
moments = []
def progress(name, done, total):
    moments.append((time.perf_counter(), done))
start = time.perf_counter()
tl.feature_extract(model, data, epochs=1, cache=cache, workers=int(workers),
    progress=progress, verbose=0)
print(json.dumps({"start": start, "moments": moments}))
"""


def main() -> None:
    """Run both in turn, and print the medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("photographs", type=Path, help="one folder per class")
    parser.add_argument("--backbone", default="efficientnet_b0")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    rounds = [
        [measured(chosen, workers) for workers in (1, 2)] for _ in range(chosen.rounds)
    ]
    print("| workers | images/s | seconds before the first |")
    print("| --- | --- | --- |")
    for workers, turns in enumerate(zip(*rounds, strict=True), start=1):
        speeds, starts, _ = zip(*turns, strict=True)
        print(f"| {workers} | {median(speeds):.1f} | {median(starts):.1f} |")
    ratio = median(two[0] / one[0] for one, two in rounds)
    written = {digest for turns in rounds for _, _, digest in turns}
    same = "the same bytes" if len(written) == 1 else "NOT the same bytes"
    print(f"{ratio:.2f}x, {same}")


def measured(chosen: argparse.Namespace, workers: int) -> tuple[float, float, str]:
    """Return images a second, the seconds before them, and a sha256 of the features."""
    environment = dict(os.environ)
    if workers == 1:
        environment |= seam.current().threads(1)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", PROGRAM, str(chosen.photographs), folder]
        done = subprocess.run(
            [*command, str(workers), chosen.backbone],
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
        )
        (entry,) = Path(folder).rglob("*.features")
        features = read_features(entry)
        # Its header says how many threads computed it, on some backends.
        rows = features.take(np.arange(len(features)))
        digest = hashlib.sha256(b"".join(array.tobytes() for array in rows))
    said = json.loads(done.stdout.splitlines()[-1])
    moments = said["moments"]
    # The first report comes after images were computed: they belong to the start.
    (begin, before), (end, images) = moments[0], moments[-1]
    return (images - before) / (end - begin), begin - said["start"], digest.hexdigest()


if __name__ == "__main__":
    main()
