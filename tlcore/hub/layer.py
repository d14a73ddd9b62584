"""TF Hub: a SavedModel of TensorFlow 2 as a layer of Keras 3.

Owns `HubLayer`, for SavedModels in TF Hub's reusable form: callable, with `variables`,
`trainable_variables` and `regularization_losses`. Where they come from is decided in
`handles`, how they are called in `saved_models`.

It rests on one thing that Keras does not document: a `keras.Variable` that holds a
variable which is already there (`_initialize`, `_value`, `_path`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlcore.hub import handles, saved_models
from tlcore.hub.saved_models import Form


@keras.saving.register_keras_serializable(package="tlcore")
class HubLayer(keras.layers.Layer):
    """A SavedModel as a layer, frozen or trainable.

    Frozen means inference: while `trainable` is False, the SavedModel is called with
    `training=False` whatever `fit` says, and adds no loss. Trainable, it is called as
    the model around it is, trains its trainable variables and adds its regularization
    losses. Its types are fixed since it was saved: under mixed precision it calculates
    in them, and what comes out is cast.

    Inputs and outputs are what the SavedModel says: images as (n, height, width, 3) in
    [0, 1] and vectors as (n, features) for TF Hub's image feature vectors, strings as
    (n,) for its text models.

    Args:
        handle: a folder, a `.tar.gz` file, an https:// address or a Kaggle handle, as
            `tlcore.hub.handles.resolve` takes it.
        trainable: whether its variables train.
        signature: the name of a signature to call; None calls the SavedModel itself.
            A signature only does inference: it cannot be trained.
        output_key: which of several named outputs to return; None returns a single one
            as it is, and several as a mapping.
        name: the layer's name.

    Raises:
        ValueError: there is no such signature or output, no way to call it, nothing
            that trains where it is to, it is no SavedModel of TensorFlow 2, or the
            Keras backend is not TensorFlow.
        FileNotFoundError: the handle is a path and nothing is there.
        ConnectionError: it must be downloaded, and the download failed.
    """

    def __init__(
        self,
        handle: str | Path,
        *,
        trainable: bool = False,
        signature: str | None = None,
        output_key: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if trainable and signature is not None:
            raise ValueError(
                "A signature only does inference and cannot be trained. Received: "
                f"trainable=True with signature={signature!r}. Leave one of them out."
            )
        kwargs.setdefault("autocast", False)
        super().__init__(trainable=trainable, name=name, **kwargs)
        self.supports_jit = False  # what a SavedModel calls may be nothing for XLA
        self.handle = handles.absolute(handle)
        self.signature = signature
        self.output_key = output_key
        folder = handles.resolve(self.handle)
        self.fingerprint = handles.fingerprint(folder)
        self._saved_model = saved_models.load(folder, self.handle)
        self._entry = saved_models.find_entry(self._saved_model, signature, self.handle)
        self._entry.check_output(output_key)
        if trainable and not self.can_train:
            raise ValueError(
                "A SavedModel must list trainable variables to be trained. Received: "
                f"trainable=True for {self.handle!r}, which lists none. Leave "
                "trainable out."
            )
        self._held = self._hold()
        for variable in self._held:
            # A model goes by the flags of variables, and Keras sets these only where
            # the layer's own flag changes.
            variable.trainable = variable.trainable and trainable
        self.built = True

    @property
    def input_forms(self) -> Sequence[Any]:
        """Return each form that its input can have: a `Form`, or a structure of them.

        It is empty where the SavedModel does not say.
        """
        return self._entry.forms

    @property
    def can_train(self) -> bool:
        """Return whether the SavedModel has variables that train once unfrozen."""
        return self.signature is None and bool(self._listed("trainable_variables"))

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Return what the SavedModel makes of `inputs`, symbolic or not.

        Raises:
            ValueError: the inputs are none that it takes.
        """
        if isinstance(inputs, list) and all(isinstance(x, str) for x in inputs):
            inputs = np.array(inputs, object)  # else a structure of so many inputs
        self._entry.check_inputs(inputs)
        return super().__call__(inputs, *args, **kwargs)

    def call(self, inputs: Any, training: bool | None = None) -> Any:  # noqa: FBT001
        """Return what the SavedModel makes of `inputs`.

        Raises:
            ValueError: it is to train and was saved for inference alone.
        """
        outputs = self._entry.run(inputs, training=bool(training) and self.trainable)
        if self.trainable and self.signature is None and not self.losses:
            # Once, however often it is called in a model.
            for loss in self._listed("regularization_losses"):
                self.add_loss(loss())
        if isinstance(outputs, Mapping):
            if self.output_key is not None:
                outputs = outputs[self.output_key]
            elif len(outputs) == 1:
                (outputs,) = outputs.values()
        return keras.tree.map_structure(self._as_policy_says, outputs)

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> Any:  # noqa: FBT001
        """Return what `call` gives for symbolic inputs, by tracing it."""
        self._entry.check_shapes()
        return keras.Operation.compute_output_spec(self, inputs, training=training)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the output for a single input of `input_shape`."""
        forms = self._entry.forms
        dtype = forms[0].dtype if forms and isinstance(forms[0], Form) else "float32"
        spec = self.compute_output_spec(keras.KerasTensor(input_shape, dtype=dtype))
        return keras.tree.map_structure(lambda tensor: tuple(tensor.shape), spec)

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs; of the SavedModel only where it is."""
        return {
            **super().get_config(),
            "trainable": self.trainable and self.can_train,
            "handle": self.handle,
            "signature": self.signature,
            "output_key": self.output_key,
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "HubLayer":
        """Return the layer that `get_config` described.

        Raises:
            ValueError: the handle leads to another SavedModel than it did.
        """
        config = dict(config)
        expected = config.pop("fingerprint")
        layer = cls(**config)
        if layer.fingerprint != expected:
            raise ValueError(
                "The SavedModel must be the one that the layer was saved with. "
                f"Received: handle={layer.handle!r}, whose graph is another now. Put "
                "back the folder of then."
            )
        return layer

    def _listed(self, name: str) -> list[Any]:
        return list(getattr(self._saved_model, name, ()))

    def _hold(self) -> list["_Held"]:
        """Return the SavedModel's variables as Keras's, in its own order."""
        variables = self._listed("variables") or self._entry.variables
        trained: set[int] = set()
        if self.can_train:
            trained = {id(v) for v in self._listed("trainable_variables")}
        # Text is no weight: it neither trains nor goes into a weights file.
        found = {id(v): v for v in variables if v.dtype.name != saved_models.TEXT}
        return [
            _Held(v, trainable=key in trained, scope=self.name)
            for key, v in found.items()
        ]

    def _as_policy_says(self, tensor: Any) -> Any:
        if keras.backend.is_float_dtype(keras.backend.standardize_dtype(tensor.dtype)):
            return keras.ops.cast(tensor, self.compute_dtype)
        return tensor


class _Held(keras.Variable):
    """A variable of Keras that is a variable of TensorFlow, not a copy of it."""

    def __init__(self, variable: Any, *, trainable: bool, scope: str) -> None:
        self._held = variable
        path = variable.name.partition(":")[0]
        super().__init__(
            initializer=_unused,
            shape=tuple(variable.shape),
            dtype=variable.dtype.name,
            trainable=trainable,
            autocast=False,
            name=path.rpartition("/")[2],
        )
        self._path = f"{scope}/{path}"

    def _initialize(self, _: Any) -> None:
        self._value = self._held


def _unused(*_: Any, **__: Any) -> Any:
    raise AssertionError("a variable that is there needs no initial value")
