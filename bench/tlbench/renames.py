"""Renames: what became of a case that its file no longer has.

Owns which new case may be one that is gone under another name, and what to do about it.
"""

import shlex
from collections.abc import Mapping

from tlbench.record import CaseRecord
from tlbench.verdicts.figures import Accepted


def hint(
    gone: str, records: Mapping[str, CaseRecord], accepted: Accepted, remedy: str
) -> str:
    """Return what can be done about a case that is gone.

    Args:
        gone: the case that has a baseline and is no longer in its file.
        records: what the session recorded, by case.
        accepted: what it is compared with.
        remedy: the command that accepts.
    """
    removed = f"if it was removed: {remedy} --prune"
    alike = [
        case
        for case, record in records.items()
        if case not in accepted.cases and _is_like(record, gone, accepted)
    ]
    # All cases of a parametrized function have one version.
    same = [case for case in alike if _parameters(case) == _parameters(gone)]
    alike = same or alike
    # Of several candidates none is named: a wrong hint would be followed.
    if len(alike) != 1:
        return removed
    words = f"--alias {shlex.quote(gone)} {shlex.quote(alike[0])}"
    return f"if it was renamed: {remedy} {words}; {removed}"


def _is_like(record: CaseRecord, gone: str, accepted: Accepted) -> bool:
    """Tell whether a record has the exact values of a case or, without, its code."""
    exact, figures = accepted.exact.get(gone), accepted.figures.get(gone)
    if exact:
        return record.exact == exact
    # The version does not depend on the name of the function.
    return figures is not None and record.version == figures.version != ""


def _parameters(case: str) -> str:
    return case.partition("[")[2]
