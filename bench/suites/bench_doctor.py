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
FIRST_VISIT = {"A1", "A2", "A4", "A5", "A6", "A7", "A8"}
"""What the main job asks: the defects that change weights or epochs in silence."""

QUESTIONS = [
    name if name in FIRST_VISIT else pytest.param(name, marks=pytest.mark.matrix)
    for name in PROBES
    if name not in OF_THE_PROCESSOR
]


@pytest.mark.parametrize("question", QUESTIONS)
def bench_question(question, record):
    """The word of one question; none is a failure of the case."""
    (finding,) = examine([question], worker_seconds=PATIENT_WORKER_SECONDS)
    assert finding.status != "cannot tell", finding.evidence
    record.exact("status", finding.status)
