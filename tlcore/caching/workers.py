"""Workers: processes that share one feature pass.

Owns both sides. The parent describes the job and starts the processes, each as
`python -m tlcore.caching.workers JOB FIRST LAST`. Each of them loads the model, checks
that its prefix has the fingerprint of the parent's, writes its blocks to the file of
the entry, and reports progress and checksums on standard output, one line of JSON each.
How rows are computed is in `work`.

Why processes: one framework leaves cores idle, because small operations do not scale
to many threads and Python's part holds the GIL, and it computes on one GPU unless a
strategy says otherwise. Why not `fork`: a framework's threads do not survive it.
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

import numpy as np

from tlcore.backend import seam
from tlcore.caching.batch_sizes import InexactError
from tlcore.caching.entry import Builder
from tlcore.caching.store import FeatureCache
from tlcore.caching.work import PassOptions, Source, Work
from tlcore.determinism import is_deterministic, make_deterministic
from tlcore.hub.trust import Consent, consenting
from tlcore.models import load_model
from tlcore.processes import whole_program
from tlcore.splitting.graph import unroll
from tlcore.splitting.part import Part, Prefix
from tlcore.splitting.split import Split, split_augmentation
from tlcore.splitting.views import ViewBank

_Lines = queue.Queue[tuple[int, str | None]]
"""What workers print, with the number of the worker; None when it ends."""


def compute_in_workers(work: Work, builder: Builder, options: PassOptions) -> None:
    """Divide the blocks of an entry among processes that compute and write them.

    Args:
        work: the rows of the entry.
        builder: the file, which every process opens.
        options: the number of processes, and what to call with their progress.

    Raises:
        InexactError: a process could not compute its rows, or ended too early.
    """
    shares = np.array_split(np.arange(builder.layout.blocks), options.workers)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        job = _describe_job(work, builder, options, Path(folder))
        lines: _Lines = queue.Queue()
        for number, share in enumerate(shares):
            command = [sys.executable, "-m", "tlcore.caching.workers", str(job)]
            command += [str(share[0]), str(share[-1] + 1)]
            # To a file: a pipe that nobody reads is full after 64 KiB of warnings.
            errors = stack.enter_context(Path(folder, f"{number}.log").open("w"))
            process = _worker(command, number, options.workers, errors)
            # Undone from the last: the process ends first, so that its reader sees the
            # end of the pipe and can be joined. The first `terminate` is for a thread
            # that does not start.
            stack.enter_context(process)
            stack.callback(process.terminate)
            reader = threading.Thread(target=_read, args=(process, number, lines))
            reader.start()
            stack.callback(reader.join)
            stack.callback(process.terminate)
        _collect(lines, work, builder, options)
        if len(builder.checksums) < builder.layout.blocks:
            logs = "".join(path.read_text() for path in Path(folder).glob("*.log"))
            last = (logs.strip().splitlines() or ["it printed no error"])[-1]
            raise InexactError(f"a worker ended too early: {last}")


def _collect(lines: _Lines, work: Work, builder: Builder, options: PassOptions) -> None:
    """Take checksums and progress from the workers until all of them ended."""
    total = len(work.visits(range(builder.layout.blocks)))
    done = [0] * options.workers
    running = options.workers
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


def _describe_job(
    work: Work, builder: Builder, options: PassOptions, folder: Path
) -> Path:
    """Write all that a worker needs to a file, and the model next to it.

    Steps are named by the values that they give: their numbers follow from the model's
    wiring, so that a worker finds the same ones in the model it loads.
    """
    source, prefix = work.source, work.source.split.prefix
    source.model.save(folder / "model.keras")
    job = {
        "model": folder / "model.keras",
        "deterministic": is_deterministic(),
        # A copy has no cached properties, some of which cannot be pickled.
        "folder": replace(source.folder),
        "steps": [step.outputs for step in prefix.steps],
        "takes": prefix.takes,
        "gives": prefix.gives,
        "cut": source.split.cut,
        "views": None if source.bank is None else source.bank.count,
        "view": source.view,
        "size": source.size,
        # Not the source's, which counts the devices: a worker sees one GPU of many.
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
    # Every framework starts a thread per core. Without a cap, N workers on C cores run
    # N * C threads and are slower than one.
    backend = seam.current()
    threads = max(1, (os.cpu_count() or 1) // workers)
    environment = {**os.environ, **backend.threads(threads)}
    gpus = sum(not device.startswith("cpu") for device in backend.devices())
    if gpus:
        # A framework reserves the memory of every GPU that it sees, for itself.
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


def _read(process: subprocess.Popen[str], number: int, lines: _Lines) -> None:
    for line in process.stdout or ():
        lines.put((number, line))
    lines.put((number, None))


def main(arguments: list[str]) -> int:
    """Compute the blocks from FIRST to LAST - 1; return the exit code."""
    job, first, last = arguments
    try:
        checksums = _compute(
            pickle.loads(Path(job).read_bytes()),  # noqa: S301 - from its own parent
            range(int(first), int(last)),
        )
    except (ValueError, TypeError, LookupError, OSError) as error:
        _report(error=f"{type(error).__name__}: {error}")
        return 1
    _report(checksums=checksums)
    return 0


def _compute(job: dict[str, Any], blocks: range) -> dict[int, list[str]]:
    if job["deterministic"]:
        make_deterministic()
    # The parent has opened what its model names.
    with consenting(Consent(handles=None)):
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
    # Looked up, not split again: where to cut is the parent's decision.
    steps = {step.outputs: step for step in unroll(model).steps}
    wanted = [steps[outputs] for outputs in job["steps"]]
    prefix = Part(wanted, job["takes"], job["gives"])
    source = Source(
        model, folder, Split(cut, prefix, prefix), bank, job["view"], job["size"]
    )
    if source.split.fingerprint != job["fingerprint"]:
        raise InexactError("the model changes when it is saved and loaded")
    related = FeatureCache(job["cache"]).related(job["key"])
    builder = Builder(job["path"], cut, len(job["key"].images), create=False)
    work = Work(source, job["key"], related)
    run = Prefix(prefix, (*folder.image_size, model.input_shape[-1]))
    work.compute(blocks, builder, run, lambda done, _: _report(done=done))
    builder.close()
    return builder.checksums


def _report(**message: Any) -> None:
    print(json.dumps(message), flush=True)  # noqa: T201 - its parent reads it


if __name__ == "__main__":
    with whole_program():
        sys.exit(main(sys.argv[1:]))
