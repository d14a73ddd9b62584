"""Markup: what the pages and the Markdown summaries have in common.

Owns how a template is filled, and the table of findings that a pull request or a job
shows. What is in them is in `report` and `comparison`.
"""

from collections.abc import Iterable
from typing import Any

from tlbench.verdicts.verdict import Finding


def page(template: str, **values: Any) -> str:
    """Return a page from a template of this folder."""
    import jinja2  # late: a session without a report needs no templates

    # Escaped: names of cases and reasons may hold any text. Strict: a misspelt name in
    # the template is an error, not a gap in the page.
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tlbench", "reporting"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template).render(values)


def findings_table(found: Iterable[tuple[str, Finding]]) -> list[str]:
    """Return the lines of a Markdown table of cases and their findings."""
    return [
        "| case | verdict | why |",
        "| --- | --- | --- |",
        *(
            f"| {cell(case)} | {finding.verdict} | {cell(finding.why)} |"
            for case, finding in found
        ),
    ]


def cell(text: str) -> str:
    """Return a text as the cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")
