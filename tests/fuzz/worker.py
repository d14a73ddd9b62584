"""Worker: a process that tries inputs one after the other, and may die of one.

It says which input it is about to try; whoever started it knows by that what it died
of, and starts another behind it. An alarm ends a process that hangs, wherever it hangs.
"""

import json
import os
import signal
import sys
import tempfile
import traceback
import warnings

SECONDS = 60
"""How long one input may take on a busy machine."""
FIRST_SECONDS = 300
"""The first loads TensorFlow and makes what the others change."""


def main():
    """Try the inputs of a target from a number on; print a line for each."""
    name, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore")
    from .targets import attempt

    report = os.fdopen(os.dup(1), "w")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TLCORE_CACHE_DIR"] = os.environ["TFHUB_CACHE_DIR"] = folder
        os.environ["KERAS_HOME"] = folder
        for number in range(first, last):
            tell(report, number=number)
            if hasattr(signal, "alarm"):
                signal.alarm(SECONDS if number > first else FIRST_SECONDS)
            try:
                attempt(name, number, folder)
            except BaseException:  # noqa: BLE001 - every one is a defect
                tell(report, defect=traceback.format_exc())
    tell(report, done=True)
    report.flush()
    os._exit(0)


def tell(report, **message):
    report.write(json.dumps(message) + "\n")
    report.flush()


if __name__ == "__main__":
    main()
