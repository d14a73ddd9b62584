"""Arguments that several commands have, each written once."""

from pathlib import Path

import click

RESULTS = click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("results"),
    show_default=True,
    metavar="DIR",
    help="Folder of the baselines.",
)
