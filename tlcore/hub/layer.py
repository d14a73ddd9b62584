"""Layer: a SavedModel of TensorFlow 2 as a layer of Keras 3.

Owns `HubLayer`, for SavedModels in TF Hub's reusable form: callable, with `variables`,
`trainable_variables` and `regularization_losses`. `handles` finds their folders,
`saved_models` loads and calls them.

Not `hub.KerasLayer`, which is a layer of Keras 2, and not `keras.layers.TFSMLayer`,
which only calls signatures and never trains.

It depends on one thing that Keras does not document: a `keras.Variable` around a
variable that exists already (`_initialize`, `_value`, `_path`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlcore.hub import handles, saved_models
from tlcore.hub.operations import touching_operations
from tlcore.hub.saved_models import Form
from tlcore.hub.trust import UntrustedError, consent_to, listed, note_opened


@keras.saving.register_keras_serializable(package="tlcore")
class HubLayer(keras.layers.Layer):
    """A SavedModel as a layer, frozen or trainable.

    Frozen means inference: while `trainable` is False, the SavedModel is called with
    `training=False`, also in `fit`, and adds no loss. While `trainable` is True, it
    follows the mode of the model around it, trains its trainable variables and adds its
    regularization losses. A SavedModel keeps the types it was saved with: under mixed
    precision it computes in these, and its outputs are cast.

    Inputs and outputs are those of the SavedModel: for TF Hub's image feature vectors,
    images of shape (n, height, width, 3) in [0, 1] and vectors of shape (n, features);
    for its text models, strings of shape (n,).

    Args:
        handle: a folder, a `.tar.gz` file, an https:// address or a Kaggle handle, as
            in `tlcore.hub.handles.resolve`.
        trainable: whether its variables train.
        signature: the name of a signature to call; None calls the SavedModel itself.
            A signature only does inference: it cannot be trained.
        output_key: which of several named outputs to return; None returns a single
            output as it is, and several as a mapping.
        trust: whether the SavedModel may do more than compute: read and write files,
            run Python code. Without it, one whose graph can is refused before anything
            of it runs, and the message lists what it holds.
        name: the layer's name.

    Attributes:
        operations: what in its graph does more than compute, one line each.

    Raises:
        ValueError: the signature or the output does not exist, the SavedModel cannot be
            called or has nothing to train, it does more than compute, it is not one of
            TensorFlow 2, or the Keras backend is not TensorFlow.
        FileNotFoundError: the handle is a path and there is nothing.
        ConnectionError: it must be downloaded, and the download failed.

    Example:
        >>> import keras
        >>> network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> network.export("served", verbose=False)
        >>> layer = tl.HubLayer("served", signature="serving_default")
        >>> print(*layer.input_forms[:1])
        float32 of shape (n, 2)
        >>> layer(keras.ops.ones((5, 2))).shape.as_list()
        [5, 3]
    """

    def __init__(
        self,
        handle: str | Path,
        *,
        trainable: bool = False,
        signature: str | None = None,
        output_key: str | None = None,
        trust: bool = False,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if trainable and signature is not None:
            raise ValueError(
                "A signature only does inference and cannot be trained. Received: "
                f"trainable=True with signature={signature!r}. Leave one of them out."
            )
        # Keras would cast a float input to the policy's type, which the SavedModel's
        # function does not take.
        kwargs.setdefault("autocast", False)
        super().__init__(trainable=trainable, name=name, **kwargs)
        self.supports_jit = False  # a SavedModel may call what XLA cannot compile
        self.handle = handles.absolute(handle)
        self.signature = signature
        self.output_key = output_key
        folder = handles.resolve(self.handle)
        self.fingerprint = handles.fingerprint(folder)
        # Before it is loaded: TensorFlow runs the initializers of a SavedModel then.
        self.operations = touching_operations(folder)
        if self.operations and not trust:
            raise UntrustedError(
                "A SavedModel must do nothing but compute, unless you trust it. "
                f"Received: handle={self.handle!r}, whose graph holds "
                f"{listed(self.operations)}. If you trust where it comes from, write "
                f"tl.HubLayer({self.handle!r}, trust=True), or for a run "
                "`tlcore run RECIPE --handle ... --trust`."
            )
        self._saved_model = saved_models.load(folder, self.handle)
        note_opened(self.handle, self.fingerprint, operations=trust)
        self._entry = saved_models.find_entry(self._saved_model, signature, self.handle)
        self._entry.check_output(output_key)
        if trainable and not self.can_train:
            raise ValueError(
                "A SavedModel must list trainable variables to be trained. Received: "
                f"trainable=True for {self.handle!r}, which lists none. Leave "
                "trainable out."
            )
        # An attribute, because Keras finds a layer's variables among its attributes.
        self._variables_of_keras = self._wrap_variables()
        for variable in self._variables_of_keras:
            # A model asks each variable for its flag, and Keras sets these flags only
            # when the layer's own flag changes.
            variable.trainable = variable.trainable and trainable
        self.built = True

    @property
    def input_forms(self) -> Sequence[Any]:
        """Return each form that the input can have: a `Form`, or a structure of them.

        It is empty if the SavedModel does not specify its input.
        """
        return self._entry.forms

    @property
    def can_train(self) -> bool:
        """Return whether the SavedModel has variables that train once unfrozen."""
        return self.signature is None and bool(self._listed("trainable_variables"))

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the outputs of the SavedModel for `inputs`, symbolic or not.

        Raises:
            ValueError: the SavedModel does not take these inputs.
        """
        if isinstance(inputs, list) and all(isinstance(x, str) for x in inputs):
            # Keras would take a list of strings for that many inputs.
            inputs = np.array(inputs, object)
        self._entry.check_inputs(inputs)
        return super().__call__(inputs, *args, **kwargs)

    def call(self, inputs: Any, training: bool | None = None) -> Any:  # noqa: FBT001
        """Return the outputs of the SavedModel for `inputs`.

        Raises:
            ValueError: it is called for training and was saved for inference only.
        """
        outputs = self._entry.run(inputs, training=bool(training) and self.trainable)
        if self.trainable and self.signature is None and not self.losses:
            # Once, even if a model calls the layer several times: the loss depends on
            # the weights, not on the call.
            for loss in self._listed("regularization_losses"):
                self.add_loss(loss())
        if isinstance(outputs, Mapping):
            if self.output_key is not None:
                outputs = outputs[self.output_key]
            elif len(outputs) == 1:
                (outputs,) = outputs.values()
        return keras.tree.map_structure(self._cast_to_policy, outputs)

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> Any:  # noqa: FBT001
        """Return the outputs of `call` for symbolic inputs, by tracing it."""
        self._entry.check_shapes()
        # Not Layer's own: it asks compute_output_shape, which asks this function.
        return keras.Operation.compute_output_spec(self, inputs, training=training)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the output for a single input of `input_shape`."""
        forms = self._entry.forms
        dtype = forms[0].dtype if forms and isinstance(forms[0], Form) else "float32"
        spec = self.compute_output_spec(keras.KerasTensor(input_shape, dtype=dtype))
        return keras.tree.map_structure(lambda tensor: tuple(tensor.shape), spec)

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs: the handle, not the SavedModel itself."""
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
        """Return the layer that `get_config` describes.

        A configuration names its SavedModel, and may come from a stranger's file: that
        SavedModel is opened only if this process did so before, or whoever loads the
        file consented (`tl.load_model(path, trust=...)`).

        Raises:
            ValueError: nobody consented, or the handle leads to another SavedModel than
                when the layer was saved; nothing of it has run.
        """
        config = dict(config)
        expected = config.pop("fingerprint", None)
        handle = handles.absolute(config.get("handle", ""))
        consent = consent_to(handle, str(expected))
        try:
            folder = handles.resolve(handle, download=consent.download)
            _require_same(handles.fingerprint(folder), expected, handle)
            return cls(**{**config, "trust": consent.operations})
        except (ConnectionError, FileNotFoundError, UntrustedError):
            raise
        except (ValueError, OSError) as error:
            # Of a class of its own, so that a reader of files hands it on as it is.
            raise UntrustedError(str(error)) from error

    def _listed(self, name: str) -> list[Any]:
        return list(getattr(self._saved_model, name, ()))

    def _wrap_variables(self) -> list["_WrappedVariable"]:
        """Return the SavedModel's variables as variables of Keras, in its order."""
        variables = self._listed("variables") or self._entry.variables
        trained: set[int] = set()
        if self.can_train:
            trained = {id(v) for v in self._listed("trainable_variables")}
        # A variable of text (a vocabulary) is not a weight: it does not train, and h5
        # files of weights cannot hold it.
        found = {id(v): v for v in variables if v.dtype.name != saved_models.TEXT}
        return [
            _WrappedVariable(v, trainable=key in trained, scope=self.name)
            for key, v in found.items()
        ]

    def _cast_to_policy(self, tensor: Any) -> Any:
        if keras.backend.is_float_dtype(keras.backend.standardize_dtype(tensor.dtype)):
            return keras.ops.cast(tensor, self.compute_dtype)
        return tensor


def _require_same(fingerprint: str, expected: str | None, handle: str) -> None:
    if fingerprint != expected:
        raise UntrustedError(
            "The SavedModel must be the one that the layer was saved with. "
            f"Received: handle={handle!r}, whose graph has changed. Put the former "
            "folder back."
        )


class _WrappedVariable(keras.Variable):
    """A variable of Keras around one of TensorFlow: it shares the value.

    A copy would not do: the SavedModel's functions read their own variables.
    """

    def __init__(self, variable: Any, *, trainable: bool, scope: str) -> None:
        self._wrapped = variable
        path = variable.name.partition(":")[0]
        super().__init__(
            initializer=_never_called,
            shape=tuple(variable.shape),
            dtype=variable.dtype.name,
            trainable=trainable,
            autocast=False,
            name=path.rpartition("/")[2],
        )
        # Keras itself builds the path from the scopes that are open now.
        self._path = f"{scope}/{path}"

    def _initialize(self, _: Any) -> None:
        self._value = self._wrapped


def _never_called(*_: Any, **__: Any) -> Any:
    raise AssertionError("a variable that exists needs no initial value")
