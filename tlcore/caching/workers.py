"""Workers: processes that share one feature pass.

Owns both sides. The parent describes the job and starts the processes, each as
`python -m tlcore.caching.workers JOB FIRST LAST`. Each of them loads the model, proves
that its prefix is the one that was asked for, writes its blocks to the file of the
entry, and reports them on standard output in lines of JSON.
"""

import json
import os
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import keras
import numpy as np

from tlcore.caching.entry import Builder
from tlcore.caching.store import FeatureCache
from tlcore.caching.work import InexactError, PassOptions, Source, Work
from tlcore.determinism import is_deterministic, make_deterministic
from tlcore.models import load_model
from tlcore.splitting.graph import unroll
from tlcore.splitting.part import Part, Prefix
from tlcore.splitting.split import Split, split_augmentation
from tlcore.splitting.views import ViewBank


def compute_in_workers(work: Work, builder: Builder, options: PassOptions) -> None:
    """Have processes of their own write a share of the blocks each."""
    total = len(work.visits(range(builder.layout.blocks)))
    shares = np.array_split(np.arange(builder.layout.blocks), options.workers)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        job = _describe_job(work, builder, options, Path(folder))
        lines: queue.Queue[tuple[int, str | None]] = queue.Queue()
        for number, share in enumerate(shares):
            command = [sys.executable, "-m", "tlcore.caching.workers", str(job)]
            command += [str(share[0]), str(share[-1] + 1)]
            errors = stack.enter_context(Path(folder, f"{number}.log").open("w"))
            process = _worker(command, number, options.workers, errors)
            stack.enter_context(process)
            stack.callback(process.terminate)
            reader = threading.Thread(target=_read, args=(process, number, lines))
            reader.start()
            stack.callback(reader.join)
            stack.callback(process.terminate)
        done = [0] * len(shares)
        running = len(shares)
        while running:
            number, line = lines.get()
            if line is None:
                running -= 1
                continue
            message = json.loads(line)
            if "error" in message:
                raise InexactError(f"a worker could not compute it: {message['error']}")
            for block, checksums in message.get("checksums", {}).items():
                builder.checksums[int(block)] = checksums
            done[number] = message.get("done", done[number])
            if options.progress is not None and "done" in message:
                options.progress(sum(done), total)
        if len(builder.checksums) < builder.layout.blocks:
            logs = "".join(path.read_text() for path in Path(folder).glob("*.log"))
            last = (logs.strip().splitlines() or ["it said nothing"])[-1]
            raise InexactError(f"a worker ended before its time: {last}")


def _describe_job(
    work: Work, builder: Builder, options: PassOptions, folder: Path
) -> Path:
    """Write all that a worker needs to a file; the model beside it."""
    source, prefix = work.source, work.source.split.prefix
    source.model.save(folder / "model.keras")
    job = {
        "model": folder / "model.keras",
        "deterministic": is_deterministic(),
        "folder": replace(source.folder),
        "steps": [step.outputs for step in prefix.steps],
        "takes": prefix.takes,
        "gives": prefix.gives,
        "cut": source.split.cut,
        "views": None if source.bank is None else source.bank.count,
        "view": source.view,
        "alone": source.alone,
        "fingerprint": source.split.fingerprint,
        "key": work.key,
        "cache": options.cache.folder,
        "path": builder.path,
    }
    path = folder / "job.pickle"
    path.write_bytes(pickle.dumps(job))
    return path


def _worker(
    command: list[str], number: int, workers: int, errors: TextIO
) -> subprocess.Popen[str]:
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": threads}
    gpus = len(keras.distribution.list_devices("gpu"))
    if gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = visible.split(",") if visible else [str(i) for i in range(gpus)]
        environment["CUDA_VISIBLE_DEVICES"] = names[number % len(names)]
    return subprocess.Popen(  # noqa: S603 - this interpreter, on our own module
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
    )


def _read(
    process: subprocess.Popen[str],
    number: int,
    lines: "queue.Queue[tuple[int, str | None]]",
) -> None:
    for line in process.stdout or ():
        lines.put((number, line))
    lines.put((number, None))


def main(arguments: list[str]) -> int:
    """Compute the blocks from FIRST to before LAST; return the exit code."""
    job, first, last = arguments
    try:
        checksums = _compute(
            pickle.loads(Path(job).read_bytes()),  # noqa: S301 - from its own parent
            range(int(first), int(last)),
        )
    except (ValueError, TypeError, LookupError, OSError) as error:
        _tell(error=f"{type(error).__name__}: {error}")
        return 1
    _tell(checksums=checksums)
    return 0


def _compute(job: dict[str, Any], blocks: range) -> dict[int, list[str]]:
    if job["deterministic"]:
        make_deterministic()
    model = load_model(job["model"])
    folder, cut, bank = job["folder"], job["cut"], None
    if job["views"] is not None:
        augmentation, _ = split_augmentation(model)
        bank = ViewBank(
            augmentation,
            count=job["views"],
            seed=folder.seed,
            digests=folder.digests,
        )
    steps = {step.outputs: step for step in unroll(model).steps}
    wanted = [steps[outputs] for outputs in job["steps"]]
    prefix = Part(wanted, job["takes"], job["gives"])
    source = Source(
        model, folder, Split(cut, prefix, prefix), bank, job["view"], job["alone"]
    )
    if source.split.fingerprint != job["fingerprint"]:
        raise InexactError("the model is another one after it was saved and loaded")
    related = FeatureCache(job["cache"]).related(job["key"])
    builder = Builder(job["path"], cut, len(job["key"].images), create=False)
    work = Work(source, job["key"], related)
    run = Prefix(prefix, (*folder.image_size, 3))
    work.compute(blocks, builder, run, lambda done, _: _tell(done=done))
    builder.close()
    return builder.checksums


def _tell(**message: Any) -> None:
    print(json.dumps(message), flush=True)  # noqa: T201 - its parent reads it


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
