"""Exporting: the model of a run in another form, run and compared before it is kept.

Owns the order of an export: it is written aside, run on real images, compared with what
the model predicts, described, and only then put in its place. The forms are in
`targets`, what is written next to them in `papers`.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlcore.evaluation import Estimate, proportion
from tlcore.exporting import papers
from tlcore.exporting.images import Calibration, calibration_files, compared_files
from tlcore.exporting.quantizing import Quantized
from tlcore.exporting.targets import LITERT, Run, Target, find_target, load, write
from tlcore.predictions.predicting import checked_files, read_files
from tlcore.runs.prediction import Predictor, load_run_predictor

TOLERANCE = 1e-5
"""How far outputs in floats may be from those of the model."""
AGREEMENT = 0.98
"""The least part of the images on which a model in 8 bits must say the same class."""
_TIMED = 20


@dataclass(frozen=True)
class Quantization:
    """How an export got its 8 bits.

    Attributes:
        calibrated_on: where the images are from that they are set by; none of these
            images is compared.
        images: their number.
        corrected: the number of layers whose bias was corrected.
        uncorrected: the layers with weights in 8 bits whose bias was not, by name.
        in_float: the operations that are still calculated in floats, by name.
    """

    calibrated_on: str
    images: int
    corrected: int
    uncorrected: tuple[str, ...]
    in_float: tuple[str, ...]


@dataclass(frozen=True)
class Export:
    """An export that was run and compared.

    Attributes:
        folder: where it is.
        target: its form.
        int8: whether it is quantized to 8 bits.
        difference: the largest one between its outputs and the model's.
        agreement: the part of the images on which both say the same class.
        nbytes: its size.
        seconds: the median of an image by itself, on the processor of this machine.
        model_seconds: the same of the model before the export.
        passed: whether it is as near as it must be: `TOLERANCE` in floats, `AGREEMENT`
            in 8 bits.
        quantization: how it got its 8 bits; None in floats.
    """

    folder: Path
    target: str
    int8: bool
    difference: float
    agreement: Estimate
    nbytes: int
    seconds: float
    model_seconds: float
    passed: bool
    quantization: Quantization | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, for a JSON file."""
        return {**asdict(self), "folder": str(self.folder)}


def export_run(
    run: str | Path,
    to: str,
    folder: str | Path,
    *,
    int8: bool = False,
    images: str | Path | None = None,
    calibrate: str | Path | None = None,
    trust: bool = False,
    say: Callable[[str], None] = print,
) -> Export:
    """Export the model of a run, and compare the export with the model.

    The folder then holds the model, `contract.json` (what it takes and gives, the names
    of the classes), `check.json` (the comparison) and a `README.md`.

    Args:
        run: the run's folder.
        to: "savedmodel", "onnx" or "litert".
        folder: where to; it must not exist.
        int8: quantize to 8 bits; for "litert".
        images: a folder of images to compare on; by default those that the run was
            tested on.
        calibrate: a folder of images that 8 bits are set by; by default those that the
            run was trained on. What is compared is left out of them.
        trust: as in `load_run_predictor`.
        say: called with a line for each step.

    Raises:
        ValueError: there is no such target or run, a package is missing (the message
            has the line that installs it), the target lacks an operation of the model,
            there are no images to compare on or to set 8 bits by, or the folder
            exists.

    Example:
        >>> from tlcore.runs.runner import RunOptions, run_recipe
        >>> recipe = tl.RECIPES["model_0"].changed(
        ...     backbone="sample_net", image_size=32, percent=100.0, epochs=1
        ... )
        >>> quiet = RunOptions(out=Path("exported"), say=lambda line: None)
        >>> run = run_recipe(recipe, "photos", quiet)
        >>> export = export_run(run.path, "savedmodel", "ready", say=lambda line: None)
        >>> export.passed, export.agreement.n
        (True, 30)
    """
    target, folder = find_target(to), Path(folder)
    _check_8_bits(target, int8=int8, calibrate=calibrate)
    target.check_installed()
    if folder.exists():
        raise ValueError(
            "An export must have a folder of its own, that is not there yet. "
            f"Received: folder={str(folder)!r}. Choose another, or remove it."
        )
    predictor = load_run_predictor(run, trust=trust)
    files = compared_files(Path(run), images, say)
    calibration = None
    if int8:
        calibration = calibration_files(Path(run), calibrate, compared=files)
    pixels = _pixels(predictor, files)
    say(f"{target.name}: the model of {run} is converted")
    with _aside(folder) as aside:
        by = None if calibration is None else _pixels(predictor, calibration.files)
        path, quantized = write(target, predictor.model, aside, int8=by)
        found = Export(
            folder,
            target.name,
            int8,
            nbytes=_size(path),
            quantization=_quantization(calibration, quantized),
            **_compared(predictor, load(target, path), pixels, int8=int8),
        )
        contract = papers.contract(predictor, target, found.as_dict())
        (aside / "contract.json").write_text(_json(contract), encoding="utf-8")
        (aside / "check.json").write_text(_json(found.as_dict()), encoding="utf-8")
        text = papers.readme(contract, found.as_dict(), target)
        (aside / "README.md").write_text(text, encoding="utf-8")
    return found


def _check_8_bits(target: Target, *, int8: bool, calibrate: str | Path | None) -> None:
    if int8 and target is not LITERT:
        raise ValueError(
            f"8 bits are for litert. Received: to={target.name!r} with int8. Leave "
            'int8 out, or write to="litert".'
        )
    if calibrate is not None and not int8:
        raise ValueError(
            "Only 8 bits are calibrated. Received: "
            f"calibrate={str(calibrate)!r} without int8. Add int8 (--int8), or leave "
            "calibrate out."
        )


def _quantization(
    calibration: Calibration | None, quantized: Quantized | None
) -> Quantization | None:
    if calibration is None or quantized is None:
        return None
    return Quantization(
        calibration.source,
        len(calibration.files),
        quantized.corrected,
        quantized.uncorrected,
        quantized.in_float,
    )


def _pixels(predictor: Predictor, files: Sequence[str]) -> NDArray[np.float32]:
    size = predictor.model.input_shape[1:3]
    checked = checked_files(files, predictor.reading)
    return np.concatenate(list(read_files(checked, size, predictor.reading)))


def _compared(
    predictor: Predictor,
    exported: Run,
    pixels: NDArray[np.float32],
    *,
    int8: bool,
) -> dict[str, Any]:
    """Return how an export compares with the model, by the names in `Export`."""
    model: Run = predictor.model.predict_on_batch
    ours, theirs = (_outputs(run, pixels) for run in (model, exported))
    same = _classes(ours) == _classes(theirs)
    difference = float(np.abs(ours.astype(np.float64) - theirs).max())
    agreement = proportion(int(same.sum()), len(same))
    passed = agreement.value >= AGREEMENT if int8 else difference <= TOLERANCE
    return {
        "difference": difference,
        "agreement": agreement,
        "seconds": _seconds(exported, pixels),
        "model_seconds": _seconds(model, pixels),
        "passed": passed,
    }


def _outputs(run: Run, pixels: NDArray[np.float32]) -> NDArray[Any]:
    starts = range(0, len(pixels), 32)
    return np.concatenate([np.asarray(run(pixels[i : i + 32])) for i in starts])


def _classes(outputs: NDArray[Any]) -> NDArray[Any]:
    if outputs.shape[1] == 1:
        return np.asarray(outputs[:, 0] > 0.5)
    return np.asarray(outputs.argmax(axis=1))


def _seconds(run: Run, pixels: NDArray[np.float32]) -> float:
    run(pixels[:1])  # what is traced or allocated once
    times = []
    for image in pixels[:_TIMED]:
        start = time.perf_counter()
        run(image[None])
        times.append(time.perf_counter() - start)
    return median(times)


@contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """Give a folder that becomes `folder` if all goes well, and is removed if not."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield aside
        aside.chmod(0o755)
        os.rename(aside, folder)  # noqa: PTH104 - to a folder that may be there by now
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def _size(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def _json(document: Any) -> str:
    return json.dumps(document, indent=2) + "\n"
