"""Check data: the command `tlcore check-data`.

Owns its options, its exit codes and where the report goes. What is checked is in
`data.data_check`, the page in `publishing.data_page`.
"""

from pathlib import Path

import click

from tlcore.cli.output import echo, echo_json

NOTHING_WRONG, FINDINGS = 0, 1


@click.command("check-data")
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    help="Folder that the paths of a table start from.",
)
@click.option("--multi", is_flag=True, help="Images of the table have several classes.")
@click.option(
    "--page",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a page with pictures of what looks wrong to this HTML file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check_data(
    data: Path, root: Path | None, multi: bool, page: Path | None, as_json: bool
) -> int:
    """Report what is wrong with the images of DATA.

    DATA is a folder with splits, or with class folders only; a .zip or .tar.gz of one;
    or a table (CSV) of paths and labels. The exit code is 0 if nothing is wrong, 1 if
    something was found, 2 if there is no such data.
    """
    from tlcore.data.data_check import check_data as check

    if page is not None and not page.absolute().parent.is_dir():
        raise ValueError(
            "A page must be a file in a folder that exists. Received: "
            f"page={str(page)!r}. Create the folder, or choose another file."
        )
    report = check(data, root=root, multi=multi)
    if page is not None:
        from tlcore.publishing.data_page import write_data_page

        write_data_page(page, report)
    if as_json:
        echo_json(report.as_dict())
    else:
        echo(report)
        if page is not None:
            echo(f"page: {page}")
    return FINDINGS if report.findings else NOTHING_WRONG
