"""Doctor: how the installed stack answers the questions of `tlcore doctor`.

Only the status of each question is recorded, as an exact value. With any version of
Keras, a defect that upstream fixed and one that came back are both regressions until
someone has looked at them and accepted the new status.

A12 is left out: whether an image gives different bits when it is alone in its batch
depends on the kernels for the processor, not on the stack.
"""

import pytest

from tlcore.doctor.examination import PATIENT_WORKER_SECONDS, examine
from tlcore.doctor.questions import PROBES

pytestmark = pytest.mark.tensorflow  # the accepted answers are those of its stack

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
    """The status of one question; a question without an answer fails the case."""
    (finding,) = examine([question], worker_seconds=PATIENT_WORKER_SECONDS)
    assert finding.status != "cannot tell", finding.evidence
    record.exact("status", finding.status)
