"""Old names: what the tutorials of 2020-2023 import, and what to write instead.

Owns a table of these names and emulates none of them. An old name with an exact
equivalent is an alias of it. Any other raises an error that says what to write, also
in `from tlcore.compat import name`. `docs/migration.md` shows whole lines, old and new.
"""

import dis
import sys
from collections.abc import Mapping
from importlib import import_module
from types import FrameType, MappingProxyType

from tlcore.arguments import did_you_mean

SAME: Mapping[str, str] = MappingProxyType(
    {
        "create_tensorboard_callback": "tlcore.callbacks:tensorboard_callback",
        "to_categorical": "keras.utils:to_categorical",
    }
)
"""Old names whose `module:name` of today takes the same arguments."""

__all__ = sorted(SAME)  # noqa: PLE0605 - computed from the names above

_GENERATORS = "takes image folders, tf.data.Dataset and keras.utils.PyDataset"

REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        "ImageDataGenerator": (
            "tlcore.image_folder(directory), and create_model(..., "
            'augmentation="generator")'
        ),
        "KerasClassifier": "keras.wrappers.SKLearnClassifier(model)",
        "KerasLayer": (
            "tlcore.HubLayer(handle, trainable=False), a layer of Keras 3, or "
            "tlcore.create_model(handle, num_classes)"
        ),
        "KerasRegressor": "keras.wrappers.SKLearnRegressor(model)",
        "RandomHeight": (
            "keras.layers.RandomZoom(height_factor=0.2, width_factor=0.0), which keeps "
            'the shape, or create_model(..., augmentation="tutorial")'
        ),
        "RandomWidth": (
            "keras.layers.RandomZoom(height_factor=0.0, width_factor=0.2), which keeps "
            'the shape, or create_model(..., augmentation="tutorial")'
        ),
        "calculate_results": "tlcore.evaluate(model, data)",
        "compare_historys": (
            'tlcore.compare_histories({"name": [history, fine_tuned]}), or '
            "tlcore.plot_history(history, fine_tuned)"
        ),
        "create_checkpoint_callback": (
            'tlcore.checkpoint_callback("checkpoint.weights.h5")'
        ),
        "evaluate_generator": f"tlcore.evaluate(model, data), which {_GENERATORS}",
        "experimental": (
            "keras.layers.RandomFlip, keras.layers.Rescaling and so on for "
            "layers.experimental.preprocessing, or "
            "keras.mixed_precision.set_global_policy for mixed_precision.experimental"
        ),
        "fit_generator": (
            f"tlcore.fit(model, train, epochs=epochs), which {_GENERATORS}"
        ),
        "legacy": "keras.optimizers.Adam and so on for optimizers.legacy",
        "load_and_prep_image": (
            "tlcore.data.images.read_image(path, (224, 224)); models of create_model "
            "take its [0, 255] as it is"
        ),
        "np_utils": "keras.utils, for np_utils.to_categorical too",
        "plot_loss_curves": "tlcore.plot_history(history)",
        "pred_and_plot": "tlcore predict IMAGE... --run RUN on the command line",
        "predict_classes": (
            "model.predict(images).argmax(axis=-1), or "
            "(model.predict(images) > 0.5).astype(int) for one sigmoid"
        ),
        "predict_generator": "model.predict(data)",
        "predict_proba": "model.predict(images)",
        "set_policy": 'keras.mixed_precision.set_global_policy("mixed_float16")',
        "unzip_data": "tlcore.fetch(name_or_path, directory)",
        "view_random_image": "tlcore.plot_images(tlcore.image_folder(directory))",
        "walk_through_dir": (
            "tlcore.image_folder(directory), with its class_names and num_images"
        ),
    }
)
"""What to write instead of each other old name."""


def __getattr__(name: str) -> object:
    if name in SAME:
        module, same = SAME[name].split(":")
        return getattr(import_module(module), same)
    if name in REMEDIES:
        message = f"{name!r} is a name of older code. Write {REMEDIES[name]}."
    else:
        known = did_you_mean(name, __dir__())
        message = f"module 'tlcore.compat' has no attribute {name!r}.{known}"
    # `from tlcore.compat import name` replaces the text of an AttributeError, and
    # hasattr() returns False for an AttributeError only: each needs its own kind.
    if _is_from_import(sys._getframe(1)):  # noqa: SLF001 - no public name for it
        raise ImportError(message, name=__name__, path=__file__)
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted({*SAME, *REMEDIES})


def _is_from_import(frame: FrameType) -> bool:
    # An import that fails here is compiled to IMPORT_FROM in the calling frame.
    return dis.opname[frame.f_code.co_code[frame.f_lasti]] == "IMPORT_FROM"
