"""Doctor: whether the installed stack has the defects that this project works around.

Owns the questions: the fact in a sentence, what this package does about it and what to
write in code of one's own; and asking them. A question that could not be answered says
why, and is never a "not affected". How each is found out is in `probes`, under the
question's name, and in `two_workers`. Nothing is loaded before it is asked.

A3 is missing: that training on cached activations can be exact is what this package
makes of the rest, and nothing that befalls a user.
"""

import importlib.metadata
import platform
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, NoReturn, TypeAlias

from tlcore.arguments import did_you_mean
from tlcore.two_workers import TwoWorkers

Status: TypeAlias = Literal["affected", "not affected", "cannot tell"]

WORKER_SECONDS = 15.0
"""How long the two workers may take among all questions."""
PATIENT_WORKER_SECONDS = 120.0
"""How long they may take where theirs was asked for by its id."""

_DISTRIBUTIONS = {
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tf-nightly", "tf-nightly-cpu"),
    "keras": ("keras", "keras-nightly"),
    "tensorflow_hub": ("tensorflow-hub", "tf-hub-nightly"),
    "tf_keras": ("tf-keras", "tf-keras-nightly"),
    "setuptools": ("setuptools",),
}
"""By module, the distributions that it comes in."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One question about the installed stack.

    Attributes:
        id: as in "A1".
        name: of its experiment in `probes`, with dashes.
        fact: what holds where the stack is affected.
        here: what this package does about it.
        remedy: what to write in code of one's own.
        source: the issue or pull request, where there is one.
        in_processes: whether it is answered by processes of its own, which start first
            and are asked last.
    """

    id: str
    name: str
    fact: str
    here: str
    remedy: str
    source: str = ""
    in_processes: bool = False


@dataclass(frozen=True)
class Finding:
    """The answer to one question.

    Attributes:
        probe: the question.
        status: "affected", "not affected" or "cannot tell".
        evidence: what was measured, or why nothing was.
    """

    probe: Probe
    status: Status
    evidence: str

    def as_dict(self) -> dict[str, str]:
        """Return it as plain values, the question's words among them."""
        words = asdict(self.probe)
        words.pop("in_processes")
        return {**words, "status": self.status, "evidence": self.evidence}


@dataclass(frozen=True)
class Stack:
    """What is installed.

    Attributes:
        versions: by module, None where it is not installed.
        backend: of Keras, or why it could not be loaded.
        devices: that Keras sees.
    """

    versions: Mapping[str, str | None]
    backend: str
    devices: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "versions": dict(self.versions),
            "backend": self.backend,
            "devices": list(self.devices),
        }


_PROBES = (
    Probe(
        id="A1",
        name="training-argument",
        fact="fit overrides the training=False of a call inside a functional model",
        here="create_model puts the backbone into a layer whose own call says "
        "training=False, which every version honours",
        remedy="""\
class Inference(keras.Layer):
    def __init__(self, base):
        super().__init__()
        self.base = base

    def call(self, x):
        return self.base(x, training=False)

x = Inference(base)(x)""",
        source="keras#23364",
    ),
    Probe(
        id="A2",
        name="frozen-network",
        fact="a frozen network is random in fit, and BatchNorm statistics of unfrozen "
        "layers move, in spite of training=False",
        here="a backbone is in inference mode as a whole, frozen or not: no Dropout, "
        "and statistics that stay",
        remedy="x = Inference(base)(x)  # the layer of A1",
        source="keras#23364",
    ),
    Probe(
        id="A4",
        name="freezing-without-compile",
        fact="a layer that is frozen after compile goes on training",
        here="fit refuses such a model before the first step; feature_extract and "
        "fine_tune compile it anew",
        remedy="""\
layer.trainable = False
# Compile anew, with your own optimizer and loss.
model.compile("sgd", "mse")""",
        source="keras#22787",
    ),
    Probe(
        id="A5",
        name="resuming-from-weights",
        fact="compile and load_weights leave the optimizer as new, and training goes "
        "on otherwise than without the interruption",
        here="nothing resumes a run yet; a finished run's model.keras holds its "
        "optimizer, and load_model restores it",
        remedy="""\
model.compile("adam", "mse")
# Before the weights are read:
model.optimizer.build(model.trainable_variables)
model.load_weights(path)""",
    ),
    Probe(
        id="A6",
        name="fit-after-restore",
        fact="after BackupAndRestore has resumed a fit, every later one starts at that "
        "epoch",
        here="fit removes the epoch that Keras left behind",
        remedy="""\
# Before every later fit; Keras has no public name for it.
model._initial_epoch = None""",
    ),
    Probe(
        id="A7",
        name="unfreezing-under-frozen-parent",
        fact="layers unfrozen under a frozen parent train, and the parent counts none "
        "of their weights",
        here="unfreeze sets the parents too; fit refuses flags that contradict each "
        "other",
        remedy="""\
# The parent first, then what stays frozen.
base.trainable = True
for layer in base.layers[:-10]:
    layer.trainable = False""",
    ),
    Probe(
        id="A8",
        name="five-and-five",
        fact="initial_epoch=history.epoch[-1] repeats an epoch",
        here="fine_tune(history=...) goes on after the last epoch",
        remedy="initial_epoch = history.epoch[-1] + 1",
    ),
    Probe(
        id="A9",
        name="wrong-monitor",
        fact="a monitor that no epoch reports is noticed too late, or never",
        here="fit checks what callbacks monitor before the first epoch",
        remedy="""\
logs = model.evaluate(x, y, return_dict=True, verbose=0)
if monitor.removeprefix("val_") not in logs:
    raise ValueError(f"{monitor} is none of {', '.join(logs)}")""",
    ),
    Probe(
        id="A10",
        name="augmentation-and-xla",
        fact="one random zoom, rotation or translation inside a model turns XLA off "
        "for the whole of it",
        here="feature_extract and fine_tune compile without XLA, which rounds "
        "otherwise in a part of a model than in the whole",
        remedy="""\
# Not in the model, but in the data it is fitted on.
data = data.map(lambda x, y: (augment(x, training=True), y))""",
    ),
    Probe(
        id="A11",
        name="multi-worker",
        fact="MultiWorkerMirroredStrategy cannot fit with two workers",
        here="fit(workers=N) and tlcore run --workers N share the one pass through the "
        "frozen layers; the rest trains in one process",
        remedy="""\
# Before TensorFlow is imported; needs tf_keras.
os.environ["TF_USE_LEGACY_KERAS"] = "1\"""",
        source="keras#20585",
        in_processes=True,
    ),
    Probe(
        id="A12",
        name="features-alone",
        fact="features of an image that is alone in its batch differ from those in a "
        "larger batch, in their last bits",
        here="the cache computes an image alone only where training has it alone",
        remedy="""\
pair = np.stack([image, image])
features = network.predict_on_batch(pair)[:1]""",
    ),
    Probe(
        id="A13",
        name="validation-steps",
        fact="validation_steps on an unshuffled folder validates the first classes "
        "only",
        here="fit has no validation_steps: all of validation is evaluated, and final "
        "figures carry their n and interval",
        remedy="""\
# Without validation_steps all of it is evaluated.
model.fit(train, validation_data=validation)""",
    ),
    Probe(
        id="A14",
        name="rescaling-twice",
        fact="images in [0, 1] are scaled once more by EfficientNet's own layers, "
        "without a word",
        here="images go in as [0, 255], and create_model applies what the backbone "
        "expects",
        remedy="""\
# [0, 255] goes in; every network has a module of its own.
images = keras.applications.efficientnet.preprocess_input(images)""",
    ),
    Probe(
        id="A15",
        name="best-of-two-fits",
        fact="EarlyStopping restores the best epoch of its last fit, not of all fits",
        here="tlcore run --early-stopping N selects over both phases, by a checkpoint "
        "that remembers",
        remedy="""\
best = keras.callbacks.ModelCheckpoint(
    path, save_best_only=True, save_weights_only=True
)
for fit in phases:
    fit(callbacks=[best])  # the same callback in every fit
model.load_weights(path)""",
        source="keras#22967",
    ),
)

PROBES: Mapping[str, Probe] = MappingProxyType({probe.id: probe for probe in _PROBES})
"""Every question, by its id."""


def find_probe(name: str) -> Probe:
    """Return the question of an id or name.

    Raises:
        ValueError: there is none; the message lists the ids.
    """
    by_name = {probe.name: probe for probe in _PROBES}
    found = PROBES.get(name.upper()) or by_name.get(name.lower())
    if found is None:
        raise ValueError(
            f"A question must be one of: {', '.join(PROBES)}. "
            f"Received: question={name!r}.{did_you_mean(name, by_name)}"
        )
    return found


def examine(
    ids: Iterable[str] = (),
    *,
    worker_seconds: float = WORKER_SECONDS,
    say: Callable[[Probe], None] | None = None,
) -> tuple[Finding, ...]:
    """Ask the installed stack; small models are trained in this process.

    Seeds, precision, warnings and the working folder are as before afterwards, and no
    process of its own is left.

    Args:
        ids: which questions, by id or name; by default all.
        worker_seconds: how long the two workers of A11 may take from their start;
            after it, it cannot tell.
        say: called with each question before its answer is awaited.

    Returns:
        The findings, in the order asked for.

    Raises:
        ValueError: an id is unknown; nothing was asked.
    """
    chosen = list(dict.fromkeys(map(find_probe, ids))) or list(_PROBES)
    found: dict[str, Finding] = {}
    with ExitStack() as stack:
        trials = {probe.id: _trial(probe, worker_seconds, stack) for probe in chosen}
        for probe in sorted(chosen, key=lambda probe: probe.in_processes):
            if say is not None:
                say(probe)
            found[probe.id] = judge(probe, trials[probe.id])
    return tuple(found[probe.id] for probe in chosen)


def judge(probe: Probe, trial: Callable[[], tuple[bool, str]]) -> Finding:
    """Return what a trial says: whether it is affected, and the evidence.

    An exception is no answer: then it cannot tell, and the evidence says why.
    """
    try:
        affected, evidence = trial()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        return Finding(probe, "cannot tell", _reason(error))
    return Finding(probe, "affected" if affected else "not affected", evidence)


def installed_stack() -> Stack:
    """Return what is installed; this loads Keras."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for module, names in _DISTRIBUTIONS.items():
        versions[module] = next(filter(None, map(_version, names)), None)
    try:
        import keras

        # A nightly build that lies over a release has the metadata of both.
        versions["keras"] = keras.__version__
        devices = tuple(map(str, keras.distribution.list_devices()))
        return Stack(versions, keras.backend.backend(), devices)
    except Exception as error:  # noqa: BLE001 - a broken stack is what it looks for
        return Stack(versions, f"none ({_reason(error)})", ())


def _trial(
    probe: Probe, seconds: float, stack: ExitStack
) -> Callable[[], tuple[bool, str]]:
    if not probe.in_processes:
        return partial(_try, probe)
    try:
        return stack.enter_context(TwoWorkers(seconds=seconds)).observe
    except OSError as error:
        return partial(_raise, error)


def _try(probe: Probe) -> tuple[bool, str]:
    from tlcore import probes

    experiment = getattr(probes, probe.name.replace("-", "_"))
    with probes.undisturbed():
        found: tuple[bool, str] = experiment()
    return found


def _raise(error: Exception) -> NoReturn:
    raise error


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _reason(error: Exception) -> str:
    text = re.sub(r"\s+", " ", str(error)).strip()
    return f"{type(error).__name__}: {text[:300]}".removesuffix(": ")
