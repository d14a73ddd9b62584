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

OF_THE_PROCESSOR = {"A12"}


@pytest.mark.parametrize("question", [x for x in PROBES if x not in OF_THE_PROCESSOR])
def bench_question(question, record):
    """The status of one question; a question without an answer fails the case."""
    (finding,) = examine([question], worker_seconds=PATIENT_WORKER_SECONDS)
    assert finding.status != "cannot tell", finding.evidence
    record.exact("status", finding.status)
