"""Commands: the short commands of `tlcore`, each a few lines around one function.

Owns their arguments and what they print. They are registered in `main`.
"""

from pathlib import Path

import click

from tlcore.cli import tables
from tlcore.cli.output import echo, echo_json


@click.command()
@click.option(
    "--files",
    is_flag=True,
    help="List the files of ImageNet weights instead: names, addresses, checksums.",
)
@click.option(
    "--presets",
    is_flag=True,
    help="List the image backbones of KerasHub instead, where it is installed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def backbones(files: bool, presets: bool, as_json: bool) -> None:
    """List the catalogue: counts without top, image sizes, input contracts."""
    from tlcore.backbones.catalogue import CATALOGUE

    if files and presets:
        raise click.UsageError("Give --files or --presets, not both.")
    if files:
        _print_weight_files(as_json=as_json)
        return
    if presets:
        from tlcore.backbones.presets import list_presets

        tables.show(list_presets(), as_json=as_json)
        return
    rows = [
        {
            "name": entry.name,
            "params": entry.manifest.params,
            "tensors": entry.manifest.tensors,
            "layers": entry.manifest.layers,
            "features": entry.manifest.channels,
            "size": entry.contract.size,
            "min_size": entry.contract.min_size,
            "input_contract": entry.contract.scheme,
            "pretrained": entry.pretrained,
        }
        for entry in CATALOGUE.values()
    ]
    tables.show(rows, as_json=as_json)


def _print_weight_files(*, as_json: bool) -> None:
    """Print where ImageNet weights come from and whether Keras has them already."""
    from tlcore.backbones.weight_files import WEIGHT_FILES, weights_kept_by_keras

    folder = weights_kept_by_keras()
    rows = [
        {
            "name": name,
            "top": top,
            "kept": (folder / file.name).is_file(),
            "file": file.name,
            "url": file.url,
            "checksum": file.checksum,
            "algorithm": file.algorithm,
        }
        for name, files in WEIGHT_FILES.items()
        for top, file in zip((False, True), files, strict=True)
    ]
    if as_json:
        echo_json({"folder": str(folder), "files": rows})
        return
    for row in rows:
        check = f"{row['algorithm']}:{row['checksum']}" if row["checksum"] else ""
        shown = row["name"], "with top" if row["top"] else "", row["url"], check
        echo("  ".join(str(cell) for cell in shown if cell))
        echo(f"    {'kept' if row['kept'] else 'goes'} at {folder / str(row['file'])}")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def recipes(as_json: bool) -> None:
    """List the recipes that `tlcore run` takes."""
    from tlcore.runs.recipes import RECIPES

    if as_json:
        echo_json([r.as_dict() for r in RECIPES.values()])
        return
    tables.print_rows(
        [
            {
                "name": recipe.name,
                "title": recipe.title,
                "epochs": f"{recipe.epochs} + {recipe.fine_tune_epochs}",
                "backbone": recipe.backbone,
            }
            for recipe in RECIPES.values()
        ]
    )


@click.command("sample-images")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--classes", default=10, show_default=True, help="How many classes.")
@click.option("--per-class", default=20, show_default=True, help="Training images.")
@click.option("--size", default=96, show_default=True, help="Pixels on each side.")
@click.option("--seed", default=42, show_default=True)
def sample_images(
    directory: Path, classes: int, per_class: int, size: int, seed: int
) -> None:
    """Write a data folder of generated images: train, validation and test.

    The same bytes on every machine.
    """
    from tlcore.data.sample_images import write_sample_splits

    write_sample_splits(
        directory, classes=classes, per_class=per_class, size=size, seed=seed
    )
    echo(f"{directory}: {classes} classes, {per_class} training images each")


@click.command()
@click.argument("archive")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--sha256", help="Refuse the archive unless its checksum is this.")
@click.option("--max-bytes", type=int, help="The largest download.  [20 GiB]")
def fetch(
    archive: str, directory: Path, sha256: str | None, max_bytes: int | None
) -> None:
    """Download and unpack an ARCHIVE of images into DIRECTORY.

    ARCHIVE is a name that the tutorials use, an address or a file. An unknown name
    lists the known ones.
    """
    from tlcore.data import archives

    echo(archives.fetch(archive, directory, sha256=sha256, max_bytes=max_bytes))


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(runs: tuple[Path, ...], as_json: bool) -> None:
    """Print the summary table of run folders: counts, time, final figures."""
    from tlcore.runs.collection import compare_runs

    tables.show_comparison(compare_runs(runs), as_json=as_json)


@click.group()
def cache() -> None:
    """Show or clear the stored outputs of frozen layers."""


_FOLDER = click.option(
    "--folder", type=click.Path(path_type=Path), help="A cache other than your own."
)


@cache.command("show")
@_FOLDER
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def cache_show(folder: Path | None, as_json: bool) -> None:
    """List the entries, the least recently used first."""
    from datetime import datetime

    from tlcore.caching.store import default_cache
    from tlcore.files import readable

    store = default_cache(folder)
    entries = store.entries()
    rows = [
        {
            "entry": entry.path.stem,
            "cut": (entry.about or {}).get("cut", "damaged"),
            "images": (entry.about or {}).get("images"),
            "bytes": entry.nbytes,
            "used": datetime.fromtimestamp(entry.used).isoformat(" ", "seconds"),
        }
        for entry in entries
    ]
    if as_json:
        echo_json(rows)
        return
    if rows:
        tables.print_rows(rows)
    total = readable(sum(entry.nbytes for entry in entries))
    limit = readable(store.limit_bytes)
    echo(f"{store.folder}: {len(rows)} entries, {total} of at most {limit}")


@cache.command("clear")
@_FOLDER
def cache_clear(folder: Path | None) -> None:
    """Remove every entry."""
    from tlcore.caching.store import default_cache
    from tlcore.files import readable

    store = default_cache(folder)
    echo(f"{store.folder}: {readable(store.clear())} set free")
