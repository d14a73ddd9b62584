"""Questions: the known defects of TensorFlow and Keras, one by one.

Owns, for each: the fact in a sentence, what this package does about it and what to
write in your own code. How each is found out is in `probes`, under the question's
name, and in `two_workers`; who asks them is `examination`.

There is no A3. In the list of findings it says that training on cached activations can
be exact, which is not a defect.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tlcore.arguments import did_you_mean


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One question about the installed stack.

    Attributes:
        id: as in "A1".
        name: of its experiment in `probes`, with dashes.
        fact: what holds where the stack is affected.
        here: what this package does about it.
        remedy: what to write in your own code.
        source: the issue or pull request, where there is one.
        in_processes: whether processes of its own answer it; they start first and are
            waited for last.
        of_tensorflow: whether it can only be asked where TensorFlow is the backend.
    """

    id: str
    name: str
    fact: str
    here: str
    remedy: str
    source: str = ""
    in_processes: bool = False
    of_tensorflow: bool = False


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
        "fine_tune compile it again",
        remedy="""\
layer.trainable = False
# Compile again, with your own optimizer and loss.
model.compile("sgd", "mse")""",
        source="keras#22787",
    ),
    Probe(
        id="A5",
        name="resuming-from-weights",
        fact="compile and load_weights leave the optimizer without its state, and "
        "training continues differently than without the interruption",
        here="tlcore run --resume and tl.resume go on to the same bits: fit(state=...) "
        "keeps the optimizer, random numbers and what callbacks remember",
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
        here="fit removes the epoch that Keras left behind, and takes no "
        "BackupAndRestore beside state=",
        remedy="""\
# Before every later fit; Keras has no public name for it.
model._initial_epoch = None""",
    ),
    Probe(
        id="A7",
        name="unfreezing-under-frozen-parent",
        fact="layers unfrozen under a frozen parent train, but the parent counts none "
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
    raise ValueError(f"{monitor} is not one of: {', '.join(logs)}")""",
    ),
    Probe(
        id="A10",
        name="augmentation-and-xla",
        fact="one random zoom, rotation or translation inside a model turns XLA off "
        "for the whole of it",
        here="feature_extract and fine_tune compile all of it with XLA on JAX, and "
        "nothing with TensorFlow, where a part of a model would round differently",
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
        of_tensorflow=True,
    ),
    Probe(
        id="A12",
        name="features-alone",
        fact="features of an image that is alone in its batch differ from those in a "
        "larger batch, in their last bits",
        here="the cache computes an image alone only where training has it alone; on "
        "JAX and PyTorch fit fills small batches for the frozen layers",
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
        of_tensorflow=True,
    ),
    Probe(
        id="A14",
        name="rescaling-twice",
        fact="images in [0, 1] are scaled again by EfficientNet's own layers, without "
        "a warning",
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
        here="tlcore run --early-stopping N selects over both phases, with a "
        "checkpoint that keeps its best value",
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
        hint = did_you_mean(name, by_name)
        raise ValueError(
            f"A question must be one of: {', '.join(PROBES)}, or its name. "
            f"Received: question={name!r}.{hint}"
        )
    return found
