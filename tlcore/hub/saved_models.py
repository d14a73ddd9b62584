"""SavedModels: how a SavedModel is called, with what, and what it returns.

Owns loading a SavedModel of TensorFlow 2 from a folder and finding out how it is
called: directly, as in TF Hub's reusable form, or by a signature. Inputs are checked
here, because TensorFlow answers a wrong one with a page of candidates. It knows nothing
of layers (`layer` does) and of where a folder comes from (`handles` does).
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlcore.arguments import require_one_of, require_tensorflow

TEXT = "string"
_TRAINING = "training"


@dataclass(frozen=True)
class Form:
    """The shape and type of one input of a SavedModel.

    Attributes:
        shape: the batch first, with None for a size that is free; None means any shape.
        dtype: the name of the type, such as "float32" or "string".

    Example:
        >>> form = Form((None, 224, 224, 3), "float32")
        >>> print(form)
        float32 of shape (n, 224, 224, 3)
        >>> form.takes(np.zeros((8, 224, 224, 3), np.uint8))
        True
        >>> form.takes(np.zeros((8, 96, 96, 3), np.float32))
        False
    """

    shape: tuple[int | None, ...] | None
    dtype: str

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.dtype} of any shape"
        sizes = ["any" if n is None else str(n) for n in self.shape]
        if self.shape and self.shape[0] is None:
            sizes[0] = "n"
        return f"{self.dtype} of shape ({', '.join(sizes)})"

    def takes(self, tensor: Any) -> bool:
        """Return whether a tensor has this form, or can be converted to it."""
        given = _form_of(tensor)
        if (self.dtype == TEXT) != (given.dtype == TEXT):
            return False
        if "float" in given.dtype and "int" in self.dtype:
            return False  # images in [0, 1] would become 0
        if self.shape is None or given.shape is None:
            return True
        pairs = zip(self.shape, given.shape, strict=False)
        fits = all(None in pair or pair[0] == pair[1] for pair in pairs)
        return fits and len(self.shape) == len(given.shape)


@dataclass(frozen=True, eq=False)
class Entry:
    """The function of a SavedModel that is called, and what it takes and returns.

    Attributes:
        function: the SavedModel itself, or a signature.
        handle: where the SavedModel comes from, for messages.
        forms: the forms that the input can have: a `Form` each, or a structure of them
            for several tensors; empty if the SavedModel does not specify its input.
        names: the names of the inputs, if they are passed by name.
        outputs: the names of the outputs, if they have names.
        modes: the values of `training` that it was saved for; empty if `training` may
            be a tensor, None if it takes no such argument.
        variables: the variables that the function reads.
        ranked: whether the number of dimensions of every output is known.
    """

    function: Callable[..., Any]
    handle: str
    forms: tuple[Any, ...]
    names: tuple[str, ...]
    outputs: tuple[str, ...]
    modes: frozenset[bool] | None
    variables: tuple[Any, ...]
    ranked: bool

    def check_inputs(self, inputs: Any) -> Any:
        """Return the form that `inputs` have, or None if no form is specified.

        Raises:
            ValueError: the inputs have none of the forms.
        """
        for form in self.forms:
            if _fits(form, inputs):
                return form
        if not self.forms:
            return None
        given = keras.tree.map_structure(lambda x: str(_form_of(x)), inputs)
        wanted = " or ".join(dict.fromkeys(_describe(form) for form in self.forms))
        raise ValueError(
            f"Inputs must be what the SavedModel takes: {wanted}. Received: "
            f"{_describe(given)}, for {self.handle!r}. Resize or convert them, or "
            "take another variation of the model."
        )

    def check_output(self, key: str | None) -> None:
        """Refuse a name that no output has.

        Raises:
            ValueError: no output has this name.
        """
        if key is not None:
            where = f" for {self.handle!r}"
            require_one_of("output_key", key, self.outputs, where=where)

    def check_shapes(self) -> None:
        """Refuse outputs whose number of dimensions is unknown.

        Raises:
            ValueError: there is one, so no model can be built around the SavedModel.
        """
        if not self.ranked:
            raise ValueError(
                "The outputs of a SavedModel must have a known number of dimensions "
                f"for a model around it. Received: handle={self.handle!r}, where it is "
                "unknown. Call the layer on tensors, or save the SavedModel again with "
                "shapes."
            )

    def run(self, inputs: Any, *, training: bool) -> Any:
        """Return the outputs for `inputs`.

        Args:
            inputs: one of the `forms`; numbers are converted to the type of the form.
            training: whether to call it for training, if it has such an argument.

        Raises:
            ValueError: it does not take these inputs, or was saved for inference only
                and is called for training.
        """
        options = {}
        if self.modes is not None:
            options[_TRAINING] = training
            if training and self.modes == {False}:
                raise ValueError(
                    "A SavedModel must be saved for training to be called for it. "
                    f"Received: handle={self.handle!r}, saved for inference only. "
                    "Freeze it, or use tlcore.create_model, which calls it for "
                    "inference."
                )
        form = self.check_inputs(inputs)
        if form is not None:
            inputs = keras.tree.map_structure_up_to(form, _convert, form, inputs)
        if not self.names:
            return self.function(inputs, **options)
        named = inputs if isinstance(inputs, Mapping) else {self.names[0]: inputs}
        return self.function(**named)


def load(folder: Path, handle: str) -> Any:
    """Return the SavedModel in a folder, as TensorFlow restores it.

    Args:
        folder: as `tlcore.hub.handles.resolve` returns it.
        handle: where the folder comes from, for messages.

    Raises:
        ValueError: it cannot be loaded, or the Keras backend is not TensorFlow.
    """
    require_tensorflow("A SavedModel needs")
    import tensorflow as tf

    try:
        return tf.saved_model.load(str(folder))
    except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"A SavedModel must be whole. Received: handle={handle!r}, which cannot be "
            f"loaded from {str(folder)!r}: {reason} Copy or download it again; text "
            "models may need `import tensorflow_text` first."
        ) from error


def read_graphs(folder: Path) -> list[Any]:
    """Return the graphs of a SavedModel as documents; nothing of them runs.

    Args:
        folder: as `tlcore.hub.handles.resolve` returns it.

    Raises:
        ValueError: they cannot be read, or the Keras backend is not TensorFlow.
    """
    require_tensorflow("A SavedModel needs")
    from google.protobuf.message import DecodeError
    from tensorflow.python.saved_model.loader_impl import parse_saved_model

    # The loader's own reader: what is looked at is what would be loaded.
    try:
        return list(parse_saved_model(str(folder)).meta_graphs)
    except (OSError, UnicodeDecodeError, DecodeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            "A SavedModel must be whole. Received: one whose graph cannot be read from "
            f"{str(folder)!r}: {reason} Copy or download it again."
        ) from error


def find_entry(model: Any, signature: str | None, handle: str) -> Entry:
    """Return the function of a loaded SavedModel that is called.

    Args:
        model: as `load` returns it.
        signature: the name of a signature, or None to call the SavedModel itself.
        handle: where the SavedModel comes from, for messages.

    Raises:
        ValueError: there is no such signature, or the SavedModel itself cannot be
            called, or not for inference.

    Example:
        >>> network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> network.export("served", verbose=False)
        >>> model = load(Path("served"), "served")
        >>> entry = find_entry(model, "serving_default", "served")
        >>> print(*entry.forms[:1], *entry.outputs)
        float32 of shape (n, 2) output_0
    """
    signatures = getattr(model, "signatures", {})
    if signature is None:
        if not callable(model):
            raise ValueError(
                "A SavedModel must be callable, as in TF Hub's reusable form, or "
                f"be called by a signature. Received: handle={handle!r}, with the "
                f"signatures: {', '.join(signatures) or 'none'}. Choose one: "
                f"HubLayer(handle, signature={next(iter(signatures), '...')!r})."
            )
        return _direct_entry(model, handle)
    require_one_of("signature", signature, signatures, where=f" for {handle!r}")
    return _signature_entry(signatures[signature], handle)


def _direct_entry(model: Any, handle: str) -> Entry:
    function = model.__call__
    concrete = list(getattr(function, "concrete_functions", ()))
    _check_callable(function, concrete, handle)
    parameters = list(inspect.signature(function).parameters)
    bound = [_by_parameter(parameters, x.structured_input_signature) for x in concrete]
    modes = None
    if _TRAINING in parameters:
        values = {x.get(_TRAINING) for x in bound}
        # If it was saved with a tensor as `training`, it can be called for both.
        either = any(not isinstance(x, bool) for x in values)
        modes = frozenset() if either else frozenset(map(bool, values))
        if modes == {True}:
            raise ValueError(
                "A SavedModel must be saved for inference. Received: "
                f"handle={handle!r}, saved for training only. Take another variation "
                "of the model, or save it with training=False as well."
            )
    return Entry(
        model,
        handle,
        forms=_unique(_forms_in(x.get(parameters[0])) for x in bound),
        names=(),
        outputs=_output_names(concrete),
        modes=modes,
        variables=_variables_of(concrete),
        ranked=_have_known_rank(concrete),
    )


def _signature_entry(function: Any, handle: str) -> Entry:
    inputs = _forms_in(function.structured_input_signature[1])
    forms = [inputs]
    if len(inputs) == 1:
        forms = [*inputs.values(), inputs]
    return Entry(
        function,
        handle,
        forms=tuple(forms),
        names=tuple(inputs),
        outputs=_output_names([function]),
        modes=None,
        variables=_variables_of([function]),
        ranked=_have_known_rank([function]),
    )


def _check_callable(function: Any, concrete: Iterable[Any], handle: str) -> None:
    """Refuse a function that cannot be called on one input, or returns nothing."""
    parameters = inspect.signature(function).parameters.values()
    needed = [
        x.name for x in parameters if x.default is x.empty and x.name != _TRAINING
    ]
    why = None
    if not concrete:
        why = "saved without having been called"
    elif len(needed) > 1 or not parameters:
        why = f"called with {', '.join(needed) or 'nothing'}"
    elif any(x.structured_outputs is None for x in concrete):
        why = "which returns nothing"
    if why is not None:
        raise ValueError(
            "A SavedModel must be callable on one input, a tensor or a structure of "
            f"tensors. Received: handle={handle!r}, {why}. Call it by a signature: "
            "HubLayer(handle, signature=...)."
        )


def _by_parameter(parameters: Iterable[str], saved: Any) -> dict[str, Any]:
    """Return the specifications of the arguments of a concrete function, by name."""
    arguments, named = saved
    return {**dict(zip(parameters, arguments, strict=False)), **named}


def _forms_in(spec: Any) -> Any:
    """Return a structure of tensor specifications with the form of each."""

    def form(item: Any) -> Form:
        shape = None if item.shape.rank is None else tuple(item.shape)
        return Form(shape, item.dtype.name)

    return keras.tree.map_structure(form, spec)


def _unique(forms: Iterable[Any]) -> tuple[Any, ...]:
    found: list[Any] = []  # not a set: a structure of forms may be a dict
    for form in forms:
        if form not in found:
            found.append(form)
    return tuple(found)


def _output_names(concrete: Iterable[Any]) -> tuple[str, ...]:
    outputs = next((x.structured_outputs for x in concrete), None)
    return tuple(sorted(outputs)) if isinstance(outputs, Mapping) else ()


def _have_known_rank(concrete: Iterable[Any]) -> bool:
    outputs = [keras.tree.flatten(x.structured_outputs) for x in concrete]
    shapes = [getattr(spec, "shape", None) for specs in outputs for spec in specs]
    return all(shape is None or shape.rank is not None for shape in shapes)


def _variables_of(concrete: Iterable[Any]) -> tuple[Any, ...]:
    found = {id(v): v for function in concrete for v in function.variables}
    return tuple(found.values())


def _fits(form: Any, inputs: Any) -> bool:
    try:
        keras.tree.assert_same_structure(form, inputs)
    except (ValueError, TypeError):
        return False
    pairs = zip(keras.tree.flatten(form), keras.tree.flatten(inputs), strict=True)
    return all(one.takes(tensor) for one, tensor in pairs)


def _form_of(tensor: Any) -> Form:
    """Return the form of a tensor, symbolic or not, or of an array."""
    if not hasattr(tensor, "dtype"):
        tensor = np.asarray(tensor)
    if tensor.shape is None or getattr(tensor.shape, "rank", 0) is None:
        return Form(None, _type_name(tensor.dtype))
    return Form(tuple(tensor.shape), _type_name(tensor.dtype))


def _type_name(dtype: Any) -> str:
    if getattr(dtype, "kind", "") in {"O", "S", "U"}:
        return TEXT
    return str(getattr(dtype, "name", dtype))


def _convert(form: Form, tensor: Any) -> Any:
    return tensor if form.dtype == TEXT else keras.ops.cast(tensor, form.dtype)


def _describe(forms: Any) -> str:
    if isinstance(forms, Mapping):
        named = sorted(forms.items())
        return ", ".join(f"{name}: {_describe(form)}" for name, form in named)
    if isinstance(forms, list | tuple):
        return ", ".join(map(_describe, forms))
    return str(forms)
