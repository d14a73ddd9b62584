"""The command `tlcore`.

Owns arguments, what is printed and the exit codes: 0 done, 2 wrong input, 130
interrupted, 143 terminated (129 by a terminal that closed). Results go to standard
output, progress and errors to standard error. Everything else is in the modules below,
loaded where a command needs them, so that help and lists are immediate.
"""

import errno
import json
import os
import shlex
import shutil
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, Self

import click

from tlcore import __version__, experiment_commands, tables

if TYPE_CHECKING:
    from tlcore.doctor.examination import Finding

INTERRUPTED = 130
TRACEBACK_VARIABLE = "TLCORE_TRACEBACK"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit: 0, 2 for wrong input, 128 and more for a signal."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 - was closed
    try:
        with Signals() as signals:
            code = tlcore.main(
                arguments, prog_name="tlcore", standalone_mode=False, obj=signals
            )
    except (click.exceptions.Abort, KeyboardInterrupt):
        _fail("interrupted.", INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (ValueError, OSError, FloatingPointError, MemoryError) as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        full = getattr(error, "errno", None) == errno.ENOSPC
        remedy = ". Make room on the disk, or choose another folder." if full else ""
        _fail(f"error: {str(error) or type(error).__name__}{remedy}", 2)
    sys.exit(code or 0)


class Signals:
    """What ends the program from outside, even where Python forgets about it.

    An exception that a handler raises while an object is being finalized is printed
    and dropped. Here it is remembered, and training asks for it after every step.
    """

    def __init__(self) -> None:
        self._ending: BaseException | None = None
        self._handlers: dict[int, Any] = {}
        self._hook = sys.unraisablehook

    def __enter__(self) -> Self:
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # Windows lacks the last
            number = getattr(signal, name, None)
            # A shell or nohup has some ignored.
            if number and signal.getsignal(number) is not signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, self._receive)
        sys.unraisablehook = self._report
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        sys.unraisablehook = self._hook

    def check(self) -> None:
        """Raise what a signal raised before."""
        if self._ending is not None:
            raise self._ending

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self._ending = SystemExit(128 + number)
        if number == signal.SIGINT:
            self._ending = KeyboardInterrupt()
        self.check()

    def _report(self, unraisable: "sys.UnraisableHookArgs") -> None:
        if unraisable.exc_value is not self._ending:
            self._hook(unraisable)


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"tlcore: {message}", err=True)
    sys.exit(code)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tlcore")
def tlcore() -> None:
    """Transfer learning on Keras that does what it says."""


tlcore.add_command(experiment_commands.experiments)


@tlcore.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def backbones(as_json: bool) -> None:
    """List the catalogue: counts without top, and what images each one wants."""
    from tlcore.backbones.catalogue import CATALOGUE

    rows = [
        {
            "name": entry.name,
            "params": entry.manifest.params,
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


@tlcore.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def recipes(as_json: bool) -> None:
    """List the recipes that `tlcore run` takes."""
    from tlcore.runs.recipes import RECIPES

    if as_json:
        click.echo(json.dumps([r.as_dict() for r in RECIPES.values()], indent=2))
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


@tlcore.command("sample-images")
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
    click.echo(f"{directory}: {classes} classes, {per_class} training images each")


@tlcore.command()
@click.argument("archive")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--sha256", help="Refuse the archive unless its checksum is this.")
def fetch(archive: str, directory: Path, sha256: str | None) -> None:
    """Download and unpack an ARCHIVE of images into DIRECTORY.

    ARCHIVE is a name the tutorials use (a wrong one lists them), an address or a file.
    """
    from tlcore.data import archives

    click.echo(archives.fetch(archive, directory, sha256=sha256))


@tlcore.command()
@click.argument("recipe")
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder with train and validation and/or test, one folder per class in each.",
)
@click.option("--backbone", help="Another backbone of the catalogue.")
@click.option(
    "--handle", help="A SavedModel instead: a folder, .tar.gz, address, Kaggle handle."
)
@click.option("--weights", help='"imagenet", "none" or the path of a weights file.')
@click.option("--image-size", type=int, help="Height and width in pixels.")
@click.option("--percent", type=float, help="Percent of the training images used.")
@click.option("--epochs", type=int, help="Epochs of feature extraction.")
@click.option("--fine-tune-epochs", type=int, help="Epochs of fine-tuning; 0: none.")
@click.option("--last", type=int, help="Layers that fine-tuning unfreezes.")
@click.option("--learning-rate", type=float, help="Fine-tuning takes a tenth of it.")
@click.option("--batch-size", type=int, help="Images per step.")
@click.option("--early-stopping", type=int, help="Epochs without improvement to stop.")
@click.option("--seed", default=42, show_default=True)
@click.option(
    "--out",
    default=Path("runs"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder of all runs.",
)
@click.option(
    "--cache",
    default="auto",
    show_default=True,
    help='Where outputs of frozen layers are kept: "auto", "off" or a folder.',
)
@click.option("--views", type=int, help="Views of each image; else augment anew.")
@click.option("--workers", default=1, show_default=True, help="Processes per pass.")
@click.option("--skip-bad", is_flag=True, help="Go on without unreadable images.")
@click.option("--deterministic", is_flag=True, help="The same bits each time; slower.")
@click.option("--tensorboard", is_flag=True, help="Show the runs in TensorBoard.")
@click.option("--json", "as_json", is_flag=True, help="Print the run's run.json.")
@click.pass_obj
def run(
    signals: Signals,
    /,
    recipe: str,
    data: Path,
    seed: int,
    out: Path,
    skip_bad: bool,
    deterministic: bool,
    early_stopping: int | None,
    cache: str,
    views: int | None,
    workers: int,
    tensorboard: bool,
    as_json: bool,
    handle: str | None,
    **changes: Any,
) -> None:
    """Train RECIPE on a data folder and leave a run folder."""
    from tlcore.runs.recipes import find_recipe
    from tlcore.runs.runner import RunOptions, run_recipe

    def callbacks() -> list[Any]:
        from tlcore.callbacks import AfterStep

        return [*progress.callbacks(), AfterStep(signals.check)]

    def features(name: str, done: int, total: int) -> None:
        signals.check()
        progress.features(name, done, total)

    changes |= _backbone_of(changes["backbone"], handle)
    chosen = find_recipe(recipe).changed(**changes)
    with _progress() as progress:
        options = RunOptions(
            out=out,
            seed=seed,
            skip_bad=skip_bad,
            deterministic=deterministic,
            early_stopping=early_stopping,
            cache=cache,
            views=views,
            workers=workers,
            callbacks=callbacks,
            say=progress.say,
            progress=features,
        )
        with _board(out, progress.say) if tensorboard else nullcontext():
            finished = run_recipe(chosen, data, options)
    if as_json:
        click.echo(json.dumps(finished.document, indent=2))
        return
    from tlcore.runs.collection import compare_runs

    tables.show_comparison(compare_runs([finished.path]))
    click.echo(f"run folder: {finished.path}")


def _backbone_of(backbone: str | None, handle: str | None) -> dict[str, str]:
    """Return what --handle changes of a recipe."""
    if handle is None:
        return {}
    from tlcore.hub.handles import absolute

    if backbone is not None:
        raise ValueError(
            "A recipe has one backbone. Received: "
            f"backbone={backbone!r} with handle={handle!r}. Leave one of them out."
        )
    return {"backbone": absolute(handle)}


@tlcore.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(runs: tuple[Path, ...], as_json: bool) -> None:
    """Print the summary table of run folders: counts, time, final figures."""
    from tlcore.runs.collection import compare_runs

    tables.show_comparison(compare_runs(runs), as_json=as_json)


@tlcore.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--backbone", help="A name of the catalogue.  [efficientnet_b0]")
@click.option("--weights", help='"imagenet" (the default) or a file.')
@click.option(
    "--run", "run_path", type=click.Path(path_type=Path), help="A run's model instead."
)
@click.option("--top", default=5, show_default=True, help="How many classes to print.")
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="File with one label per line, in the order of the outputs.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def predict(
    images: tuple[Path, ...],
    backbone: str | None,
    weights: str | None,
    run_path: Path | None,
    top: int,
    labels: Path | None,
    as_json: bool,
) -> None:
    """Print what IMAGES show, by a backbone as it is or by a run's model."""
    from tlcore.runs.prediction import load_predictor, load_run_predictor

    if run_path is None:
        predictor = load_predictor(
            backbone or "efficientnet_b0",
            weights=weights or "imagenet",
            labels=labels,
        )
    elif backbone or weights:
        raise ValueError(
            "A run brings its own model. Received: --run with --backbone or "
            "--weights. Leave these out."
        )
    else:
        predictor = load_run_predictor(run_path, labels=labels)
    guesses = predictor.predict(images, top=top)
    if as_json:
        click.echo(json.dumps(guesses, indent=2))
        return
    for path, ranked in guesses.items():
        click.echo(path)
        for guess in ranked:
            click.echo(f"  {guess['probability']:.4f}  {guess['label']}")


@tlcore.group()
def cache() -> None:
    """Show or clear the stored outputs of frozen layers."""


_FOLDER = click.option(
    "--folder", type=click.Path(path_type=Path), help="Another cache than your own."
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
        click.echo(json.dumps(rows, indent=2))
        return
    if rows:
        tables.print_rows(rows)
    total = readable(sum(entry.nbytes for entry in entries))
    limit = readable(store.limit_bytes)
    click.echo(f"{store.folder}: {len(rows)} entries, {total} of at most {limit}")


@cache.command("clear")
@_FOLDER
def cache_clear(folder: Path | None) -> None:
    """Remove every entry."""
    from tlcore.caching.store import default_cache
    from tlcore.files import readable

    store = default_cache(folder)
    click.echo(f"{store.folder}: {readable(store.clear())} set free")


@tlcore.command()
@click.argument("questions", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(questions: tuple[str, ...], as_json: bool) -> None:
    """Ask whether the installed stack has known defects, and print what to write.

    QUESTIONS are ids such as A4; without any, all are asked. Small models are trained,
    for seconds. The exit code is 0 whatever is found: "affected" is a property of what
    is installed, and no failure of this command.
    """
    from rich.console import Console

    from tlcore.doctor.examination import (
        PATIENT_WORKER_SECONDS,
        WORKER_SECONDS,
        examine,
        installed_stack,
    )

    seconds = PATIENT_WORKER_SECONDS if questions else WORKER_SECONDS
    with Console(stderr=True).status("loading Keras") as status:
        findings = examine(
            questions,
            worker_seconds=seconds,
            say=lambda probe: status.update(f"{probe.id}: {probe.fact}"),
        )
        stack = installed_stack()
    if as_json:
        found = [finding.as_dict() for finding in findings]
        click.echo(json.dumps({**stack.as_dict(), "findings": found}, indent=2))
        return
    versions = [f"{name} {v or 'not installed'}" for name, v in stack.versions.items()]
    click.echo("\n".join(_folded(", ".join(versions), indent=0)))
    click.echo(f"backend: {stack.backend}; devices: {', '.join(stack.devices)}")
    for finding in findings:
        click.echo()
        _show_finding(finding)


@contextmanager
def _board(out: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Show a folder of runs in TensorBoard, and say where, then how to look again."""
    from tlcore.board import local_board

    with local_board(out) as address:
        say(f"TensorBoard: {address}")
        try:
            yield
        finally:
            again = f"tensorboard --logdir {shlex.quote(str(out))}"
            say(f"TensorBoard ends with the run; to look again: {again}")


def _progress() -> Any:
    from tlcore.progress import Progress

    return Progress()


def _show_finding(finding: "Finding") -> None:
    """Print the answer on one line; below, where affected, what is and can be done."""
    colours = {"affected": "yellow", "not affected": "green", "cannot tell": "magenta"}
    probe = finding.probe
    word = click.style(finding.status, colours[finding.status])
    source = f"; {probe.source}" if probe.source else ""
    text = f"{finding.status}: {probe.fact} ({finding.evidence}{source})"
    lines = _folded(text, indent=5)
    click.echo(f"{probe.id:<5}{word}{lines[0].removeprefix(finding.status)}")
    details = lines[1:]
    if finding.status == "affected":
        for name, folded in (
            ("here:  ", _folded(probe.here, indent=12)),
            ("write: ", probe.remedy.splitlines()),
        ):
            details += [f"{name}{folded[0]}", *(f"{'':7}{x}" for x in folded[1:])]
    for line in details:
        click.echo(f"{'':5}{line}".rstrip())


def _folded(text: str, *, indent: int) -> list[str]:
    """Fold text to a terminal, where it is indented; a pipe has no width."""
    if not sys.stdout.isatty():
        return [text]
    # The last column stays free, where some terminals wrap.
    width = shutil.get_terminal_size().columns - indent - 1
    return textwrap.wrap(text, max(width, 30), break_long_words=False)
