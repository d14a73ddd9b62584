"""Rank: the command `tlcore rank`.

Owns its options and the form of its output. What ranks is in `choosing.ranking`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlcore.cli import tables
from tlcore.cli.output import echo, echo_json

if TYPE_CHECKING:
    from tlcore.choosing.ranking import Ranked


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder, archive or table of images; of splits only train is read.",
)
@click.option(
    "--backbones",
    required=True,
    help="Names of the catalogue or kerashub:PRESET, with commas; NAME=FILE has its "
    "weights in a file.",
)
@click.option("--weights", help='"imagenet" (the default) or "none", for the others.')
@click.option("--image-size", type=int, help="Pixels on each side.  [each one's own]")
@click.option("--folds", default=5, show_default=True, help="Of the cross-validation.")
@click.option("--percent", type=float, default=100, help="How much of each class.")
@click.option("--seed", default=42, show_default=True)
@click.option("--root", type=click.Path(path_type=Path), help="As in tlcore run.")
@click.option("--skip-bad", is_flag=True, help="Leave out images that cannot be read.")
@click.option("--cache", default="auto", help="As in tlcore run.")
@click.option("--workers", default=1, show_default=True, help="Processes per pass.")
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the ranking to this file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def rank(
    data: Path,
    backbones: str,
    weights: str | None,
    image_size: int | None,
    folds: int,
    percent: float,
    seed: int,
    root: Path | None,
    skip_bad: bool,
    cache: str,
    workers: int,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Say which backbone suits some images, before anything is trained.

    Each backbone runs once over the training images. The accuracy is that of a linear
    head, by cross-validation; test and validation images are not read.
    """
    from tlcore.choosing.ranking import rank as ranked_of
    from tlcore.choosing.ranking_picture import plot_ranking
    from tlcore.plotting.figures import checked_path
    from tlcore.terminal.progress import pass_progress

    checked_path(picture)
    names, files = _named(backbones, weights)
    with pass_progress(None, show=not as_json) as progress:
        ranked = ranked_of(
            data,
            names,
            weights=files,
            image_size=image_size,
            folds=folds,
            percent=percent,
            seed=seed,
            root=root,
            skip_bad=skip_bad,
            cache=cache,
            workers=workers,
            say=lambda line: echo(line, err=True),
            progress=progress,
        )
    if picture is not None:
        plot_ranking(ranked, path=picture)
    if as_json:
        echo_json([row.as_dict() for row in ranked])
        return
    _print(ranked)
    if picture is not None:
        echo(f"written: {picture}")


def _named(text: str, weights: str | None) -> tuple[list[str], dict[str, str | Path]]:
    """Return the names of backbones, and what each one's weights are."""
    if weights not in {None, "imagenet", "none"}:
        raise ValueError(
            '--weights must be "imagenet" or "none". '
            f"Received: weights={weights!r}. A file belongs to one backbone: "
            "--backbones NAME=FILE."
        )
    pairs = dict(_pairs(text))
    return list(pairs), {
        name: Path(file) if file else (weights or "imagenet")
        for name, file in pairs.items()
    }


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    seen = set()
    for part in text.split(","):
        name, given, file = part.strip().partition("=")
        if not name or name in seen or (given and not file):
            raise ValueError(
                "--backbones must be names with commas between them, each one once. "
                f"Received: {text!r}. Write --backbones mobilenet_v2,resnet50."
            )
        seen.add(name)
        yield name, file


def _print(ranked: "tuple[Ranked, ...]") -> None:
    tables.print_rows(
        [
            {
                "backbone": row.backbone,
                "accuracy": f"{row.accuracy.value:.4f} "
                f"({row.accuracy.low:.3f}-{row.accuracy.high:.3f})",
                "against the best": {None: "", True: "worse", False: "not told apart"}[
                    row.worse
                ],
                "seconds": "cached" if row.seconds is None else f"{row.seconds:.1f}",
                "parameters": row.params,
                "MB": f"{row.megabytes:.1f}",
                "size": row.image_size,
            }
            for row in ranked
        ]
    )
    n = ranked[0].accuracy.n
    close = sum(row.worse is False for row in ranked)
    echo(
        f"{ranked[0].backbone} is the best on {n} images"
        + (f"; {close} cannot be told apart from it by them" if close else "")
    )
