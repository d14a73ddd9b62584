"""Export: the command `tlcore export`.

Owns its options, its exit codes and what it prints. What exports is in `exporting`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlcore.cli.output import echo, echo_json

if TYPE_CHECKING:
    from tlcore.exporting.exporting import Quantization

PASSED, DIFFERS = 0, 1


@click.command()
@click.argument("run")
@click.option("--to", required=True, help='"savedmodel", "onnx" or "litert".')
@click.option("--int8", is_flag=True, help="Quantize to 8 bits; for litert.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the export, not there yet.  [exports/RECIPE-MOMENT-TARGET]",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="Images to compare on.  [those that the run was tested on]",
)
@click.option(
    "--calibrate",
    type=click.Path(path_type=Path),
    help="Images that --int8 sets its ranges by.  [those that the run was trained on]",
)
@click.option(
    "--trust", is_flag=True, help="Open the SavedModel that the run's model names."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def export(
    run: str,
    to: str,
    int8: bool,
    out: Path | None,
    images: Path | None,
    calibrate: Path | None,
    trust: bool,
    as_json: bool,
) -> int:
    """Export the model of RUN and compare the export with it.

    RUN is the folder of a run, its name in runs, or a recipe: the newest run of it
    that is done. The export is run on real images before it is put in its place. The
    exit code is 0 if it predicts the same, 1 if it is there but differs, 2 if there is
    none.
    """
    from tlcore.exporting.exporting import export_run
    from tlcore.files import readable
    from tlcore.runs.collection import find_trained
    from tlcore.runs.run import RUNS

    path = find_trained(run, RUNS)
    kind = f"{to}-int8" if int8 else to
    name = "-".join((*path.resolve().parts[-2:], kind))
    found = export_run(
        path,
        to,
        out or Path("exports") / name,
        int8=int8,
        images=images,
        calibrate=calibrate,
        trust=trust,
        say=lambda line: echo(line, err=True),
    )
    if as_json:
        echo_json(found.as_dict())
        return PASSED if found.passed else DIFFERS
    agreement = found.agreement
    echo(f"the same class: {agreement}")
    echo(f"largest difference of an output: {found.difference:.2g}")
    echo(f"size: {readable(found.nbytes)}")
    echo(
        f"an image by itself: {found.seconds * 1e3:.1f} ms, the model "
        f"{found.model_seconds * 1e3:.1f} ms"
    )
    if found.quantization is not None:
        _say_8_bits(found.quantization)
    if not found.passed:
        echo("the export differs from the model; do not ship it as it is", err=True)
    echo(f"export: {found.folder}")
    return PASSED if found.passed else DIFFERS


def _say_8_bits(how: "Quantization") -> None:
    echo(f"8 bits: set by {how.images} other images, {how.calibrated_on}")
    echo(f"biases corrected: {how.corrected} layers")
    for name in how.uncorrected:
        echo(f"bias not corrected: {name}")
    for name in how.in_float:
        echo(f"still in floats: {name}")
