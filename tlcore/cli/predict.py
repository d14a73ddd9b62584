"""Predict: the command `tlcore predict`.

Owns its options, the forms of its output, and which files it writes. What predicts is
in `runs.prediction`, what predictions are worth in the wing `predictions`.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlcore.arguments import require_whole
from tlcore.cli import tables
from tlcore.cli.output import echo, echo_json
from tlcore.runs.run import CALIBRATION, CONFUSION, MISTAKES

if TYPE_CHECKING:
    from tlcore.predictions.values import Predictions
    from tlcore.runs.prediction import Predictor


@dataclass(frozen=True)
class _Targets:
    """What is written besides the output, and where to; None is nothing."""

    csv: Path | None
    pictures: Path | None
    heat_maps: Path | None

    def check(self, images: Path | None) -> None:
        """Refuse a place that cannot be written to before the model is loaded.

        Args:
            images: the folder of the images, None for files.
        """
        parent = self.csv.absolute().parent if self.csv else None
        if parent is not None and not parent.is_dir():
            raise ValueError(
                "A table must be a file in a folder that exists. Received: "
                f"csv={str(self.csv)!r}. Create the folder, or choose another file."
            )
        for folder in (self.pictures, self.heat_maps):
            if folder is None:
                continue
            if images is not None and folder.resolve().is_relative_to(images.resolve()):
                raise ValueError(
                    "Pictures must not be among the images. Received: "
                    f"{str(folder)!r}, within {str(images)!r}. Name another folder."
                )
            there = next(x for x in (folder, *folder.absolute().parents) if x.exists())
            if not there.is_dir() or not os.access(there, os.W_OK):
                raise ValueError(
                    "Pictures must be written to a folder. Received: "
                    f"{str(folder)!r}, where none can be made. Name another."
                )


@click.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--backbone", help="A name of the catalogue.  [efficientnet_b0]")
@click.option("--weights", help='"imagenet" (the default) or a file.')
@click.option(
    "--run",
    help="The model of a run instead: its folder, its name in runs, or a recipe, the "
    "newest run of it that is done.",
)
@click.option("--top", default=5, show_default=True, help="How many classes to print.")
@click.option(
    "--csv",
    "csv_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the predictions of a folder to this file, a line per image.",
)
@click.option(
    "--pictures",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the confusion matrix, the worst mistakes and the calibration of a "
    "labelled folder to this folder.",
)
@click.option(
    "--heat-maps",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write each image under the places that speak for its predicted class to this "
    "folder.",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="File of labels: `folder = label` in each line, CSV or JSON, or a list.",
)
@click.option(
    "--trust", is_flag=True, help="Open the SavedModel that the run's model names."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def predict(
    images: tuple[Path, ...],
    backbone: str | None,
    weights: str | None,
    run: str | None,
    top: int,
    csv_path: Path | None,
    pictures: Path | None,
    heat_maps: Path | None,
    labels: Path | None,
    trust: bool,
    as_json: bool,
) -> None:
    """Classify IMAGES, with a backbone as it is or with the model of a run.

    IMAGES are image files, or one folder. Folders in it that are named as the classes
    give the truth; then accuracy, and precision, recall and F1 of each class, are
    printed. An image that cannot be read is listed, the others are predicted.
    """
    folder = _folder_of(images)
    if folder is None and (csv_path or pictures):
        raise ValueError(
            "--csv and --pictures are for a folder of images. Received: "
            f"{len(images)} files. Name their folder."
        )
    require_whole("top", top, least=1)
    targets = _Targets(csv_path, pictures, heat_maps)
    targets.check(folder)
    predictor = _predictor(backbone, weights, run, labels, trust=trust)
    if folder is not None:
        _predict_folder(predictor, folder, top, targets, as_json=as_json)
        return
    guesses = predictor.predict(images, top=top)
    if heat_maps is not None:
        _write_heat_maps(predictor, list(guesses), None, heat_maps)
    if as_json:
        echo_json(guesses)
        return
    for path, ranked in guesses.items():
        echo(path)
        for guess in ranked:
            echo(f"  {guess['probability']:.4f}  {guess['label']}")
    if heat_maps is not None:
        echo(f"written: {heat_maps}")


def _folder_of(images: tuple[Path, ...]) -> Path | None:
    """Return the folder that is to be predicted, None for files."""
    folders = [path for path in images if path.is_dir()]
    if folders and len(images) > 1:
        raise ValueError(
            "Images must be files, or one folder. Received: "
            f"{len(images)} paths, of which {str(folders[0])!r} is a folder."
        )
    return folders[0] if folders else None


def _predictor(
    backbone: str | None,
    weights: str | None,
    run: str | None,
    labels: Path | None,
    *,
    trust: bool,
) -> "Predictor":
    from tlcore.runs.collection import find_trained
    from tlcore.runs.prediction import load_predictor, load_run_predictor
    from tlcore.runs.run import RUNS

    if run is None:
        return load_predictor(
            backbone or "efficientnet_b0", weights=weights or "imagenet", labels=labels
        )
    if backbone or weights:
        raise ValueError(
            "A run brings its own model. Received: --run with --backbone or "
            "--weights. Leave these out."
        )
    path = find_trained(run, RUNS)
    if path != Path(run):
        echo(f"run: {path}", err=True)
    return load_run_predictor(path, labels=labels, trust=trust)


def _predict_folder(
    predictor: "Predictor",
    folder: Path,
    top: int,
    targets: _Targets,
    *,
    as_json: bool,
) -> None:
    from tlcore.predictions.report import report
    from tlcore.terminal.progress import pass_progress

    with pass_progress(None, show=not as_json) as progress:
        found = predictor.predict_folder(folder, progress=progress)
    if targets.pictures is not None and found.truth is None:
        raise ValueError(
            "--pictures are of right and wrong, which needs images whose class is "
            f"known. Received: {str(folder)!r}, with no folder named as one of the "
            f"classes: {', '.join(predictor.folders)}. Leave --pictures out, or name "
            "the folders so."
        )
    written = [path for path in (targets.csv, targets.heat_maps) if path is not None]
    if targets.csv is not None:
        found.write_csv(targets.csv)
    if targets.pictures is not None:
        written += _draw(found, predictor, targets.pictures)
    if targets.heat_maps is not None:
        classes = None if found.several else found.predicted.tolist()
        names = [found.name_of(i) for i in range(len(found))]
        _write_heat_maps(predictor, names, classes, targets.heat_maps, root=folder)
    if as_json:
        echo_json(report(found) | {"images": list(found.rows())})
        return
    _print(found, top)
    for path in written:
        echo(f"written: {path}")


def _write_heat_maps(
    predictor: "Predictor",
    names: Sequence[str],
    classes: Sequence[int] | None,
    target: Path,
    *,
    root: Path | None = None,
) -> None:
    """Write a picture for each image, where it is within `root` or by its name."""
    from tlcore.predictions.heat_maps import write_heat_maps

    files: dict[str, Path] = {}
    for name in names:
        inside = Path(name).name if root is None else Path(name).relative_to(root)
        path = target / f"{inside}.png"
        if path in files.values():
            raise ValueError(
                "Images must have different names to be drawn into one folder. "
                f"Received: {Path(name).name!r} twice. Predict one at a time."
            )
        files[name] = path
    write_heat_maps(predictor.model, files, classes, reading=predictor.reading)


def _draw(found: "Predictions", predictor: "Predictor", pictures: Path) -> list[Path]:
    from tlcore.predictions.pictures import (
        plot_calibration,
        plot_confusion,
        plot_mistakes,
    )

    pictures.mkdir(parents=True, exist_ok=True)
    plot_confusion(found, path=pictures / CONFUSION)
    plot_mistakes(found, path=pictures / MISTAKES, reading=predictor.reading)
    plot_calibration(found, path=pictures / CALIBRATION)
    return [pictures / name for name in (CONFUSION, MISTAKES, CALIBRATION)]


def _print(found: "Predictions", top: int) -> None:
    from tlcore.predictions.class_report import class_report

    for path, problem in found.problems.items():
        echo(f"cannot be read: {path} ({problem})", err=True)
    if found.left_out:
        kinds = ", ".join(f"{n} {suffix}" for suffix, n in found.left_out.items())
        echo(f"left out, no images: {kinds}", err=True)
    if found.truth is None:
        echo("no folder is named as a class: predictions only")
        _print_counts(found)
        return
    rows: list[dict[str, Any]] = []
    for each in class_report(found):
        figures = {"precision": each.precision, "recall": each.recall, "F1": each.f1}
        rows.append(
            {"class": each.name, "images": each.images, "predicted": each.predicted}
            | {
                name: "" if x is None else f"{x.value:.2f} ({x.low:.2f}-{x.high:.2f})"
                for name, x in figures.items()
            }
        )
    tables.print_rows(rows)
    wrong = found.mistakes(top)
    for index in wrong:
        said = found.said_of(found.predicted[index])
        truth = found.said_of(found.require_truth()[index])
        sure = found.confidence[index]
        echo(f"wrong: {found.name_of(index)} is {truth}, said {said} ({sure:.4f})")
    echo(f"accuracy {found.accuracy}")


def _print_counts(found: "Predictions") -> None:
    rows = [
        {"class": name, "predicted": int((found.predicted == i).sum())}
        for i, name in enumerate(found.class_names)
    ]
    shown = [row for row in rows if row["predicted"]]
    tables.print_rows(shown)
    echo(f"{len(found)} images; --csv FILE writes one line for each")
