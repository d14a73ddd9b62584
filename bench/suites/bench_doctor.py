"""Doctor: what the installed stack answers to the questions of `tlcore doctor`.

The word alone is recorded, as an exact value: whatever version of Keras is installed, a
defect that upstream mended, and one that came back, is a regression until someone has
looked at it and accepted the new word.

A12 is left out: whether an image alone in its batch gives other bits is decided by the
kernels of the processor, not by the stack.
"""

import pytest

from tlcore.doctor.examination import PATIENT_WORKER_SECONDS, examine
from tlcore.doctor.questions import PROBES

OF_THE_PROCESSOR = {"A12"}


@pytest.mark.parametrize("question", [x for x in PROBES if x not in OF_THE_PROCESSOR])
def bench_question(question, record):
    """The word of one question; none is a failure of the case."""
    (finding,) = examine([question], worker_seconds=PATIENT_WORKER_SECONDS)
    assert finding.status != "cannot tell", finding.evidence
    record.exact("status", finding.status)
