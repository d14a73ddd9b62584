"""One worker of a feature pass: `python -m tlcore.pass_worker JOB FIRST LAST`.

Owns the process that computes some blocks of an entry for another one: it loads the
model, proves that its prefix is the one that was asked for, writes the blocks to the
entry's file and tells of them on standard output, in lines of JSON.
"""

import json
import pickle
import sys
from pathlib import Path
from typing import Any

from tlcore.determinism import make_deterministic
from tlcore.feature_cache import Builder, FeatureCache
from tlcore.feature_pass import InexactError, Source, Work
from tlcore.models import load_model
from tlcore.splitting.graph import unroll
from tlcore.splitting.part import Part, Prefix
from tlcore.splitting.split import Split, split_augmentation
from tlcore.splitting.views import ViewBank


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
