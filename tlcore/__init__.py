"""Transfer learning on Keras that does what it says.

Frozen means frozen and in inference mode, fine-tuning continues where feature
extraction stopped, and every estimate comes with its n and its interval. Importing this
package loads no framework: a public name loads its module on first use.
"""

import importlib
from typing import TYPE_CHECKING

__version__: str

if TYPE_CHECKING:
    from tlcore.backbones.catalogue import list_backbones as list_backbones
    from tlcore.backbones.loading import load_backbone as load_backbone
    from tlcore.callbacks import checkpoint_callback as checkpoint_callback
    from tlcore.callbacks import early_stopping_callback as early_stopping_callback
    from tlcore.callbacks import tensorboard_callback as tensorboard_callback
    from tlcore.choosing.ranking import rank as rank
    from tlcore.choosing.ranking_picture import plot_ranking as plot_ranking
    from tlcore.choosing.rate_picture import plot_learning_rates as plot_learning_rates
    from tlcore.choosing.rate_search import find_learning_rate as find_learning_rate
    from tlcore.choosing.sweep import sweep as sweep
    from tlcore.choosing.sweep_picture import plot_sweep as plot_sweep
    from tlcore.data.archives import ARCHIVES as ARCHIVES
    from tlcore.data.archives import fetch as fetch
    from tlcore.data.arrays import image_arrays as image_arrays
    from tlcore.data.data_check import check_data as check_data
    from tlcore.data.image_folder import image_folder as image_folder
    from tlcore.data.image_table import image_table as image_table
    from tlcore.data.sample_images import write_sample_images as write_sample_images
    from tlcore.data.sample_images import write_sample_splits as write_sample_splits
    from tlcore.data.splits import load_splits as load_splits
    from tlcore.evaluation import evaluate as evaluate
    from tlcore.freezing import freeze as freeze
    from tlcore.freezing import frozen_fingerprint as frozen_fingerprint
    from tlcore.freezing import trainable_summary as trainable_summary
    from tlcore.freezing import unfreeze as unfreeze
    from tlcore.hub.layer import HubLayer as HubLayer
    from tlcore.models import create_model as create_model
    from tlcore.models import load_model as load_model
    from tlcore.plotting.image_grid import plot_images as plot_images
    from tlcore.plotting.learning_curves import compare_histories as compare_histories
    from tlcore.plotting.learning_curves import plot_history as plot_history
    from tlcore.predictions.heat_maps import heat_map as heat_map
    from tlcore.predictions.pictures import plot_calibration as plot_calibration
    from tlcore.predictions.pictures import plot_confusion as plot_confusion
    from tlcore.predictions.pictures import plot_mistakes as plot_mistakes
    from tlcore.predictions.predicting import predict as predict
    from tlcore.resuming import load_state as load_state
    from tlcore.resuming import resume as resume
    from tlcore.resuming import save_state as save_state
    from tlcore.runs.recipes import RECIPES as RECIPES
    from tlcore.tracking.callback import mlflow_callback as mlflow_callback
    from tlcore.tracking.callback import wandb_callback as wandb_callback
    from tlcore.training import feature_extract as feature_extract
    from tlcore.training import fine_tune as fine_tune
    from tlcore.training import fit as fit

# TensorFlow takes seconds to import; `tlcore --help` and shell completion must not wait
# for it. `TYPE_CHECKING` above tells type checkers what `__getattr__` below returns.
_HOMES = {
    "ARCHIVES": "data.archives",
    "HubLayer": "hub.layer",
    "RECIPES": "runs.recipes",
    "check_data": "data.data_check",
    "checkpoint_callback": "callbacks",
    "compare_histories": "plotting.learning_curves",
    "create_model": "models",
    "early_stopping_callback": "callbacks",
    "evaluate": "evaluation",
    "feature_extract": "training",
    "fetch": "data.archives",
    "fine_tune": "training",
    "find_learning_rate": "choosing.rate_search",
    "fit": "training",
    "freeze": "freezing",
    "frozen_fingerprint": "freezing",
    "heat_map": "predictions.heat_maps",
    "image_arrays": "data.arrays",
    "image_folder": "data.image_folder",
    "image_table": "data.image_table",
    "list_backbones": "backbones.catalogue",
    "load_backbone": "backbones.loading",
    "load_model": "models",
    "load_splits": "data.splits",
    "load_state": "resuming",
    "mlflow_callback": "tracking.callback",
    "plot_calibration": "predictions.pictures",
    "plot_confusion": "predictions.pictures",
    "plot_history": "plotting.learning_curves",
    "plot_images": "plotting.image_grid",
    "plot_learning_rates": "choosing.rate_picture",
    "plot_mistakes": "predictions.pictures",
    "plot_ranking": "choosing.ranking_picture",
    "plot_sweep": "choosing.sweep_picture",
    "predict": "predictions.predicting",
    "rank": "choosing.ranking",
    "resume": "resuming",
    "save_state": "resuming",
    "sweep": "choosing.sweep",
    "tensorboard_callback": "callbacks",
    "trainable_summary": "freezing",
    "unfreeze": "freezing",
    "wandb_callback": "tracking.callback",
    "write_sample_images": "data.sample_images",
    "write_sample_splits": "data.sample_images",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - computed from the names above


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version  # late: half of what importing costs

        return version("tlcore")
    if name not in _HOMES:
        raise AttributeError(f"module 'tlcore' has no attribute {name!r}")
    home = f"tlcore.{_HOMES[name]}"
    try:
        module = importlib.import_module(home)
    except ModuleNotFoundError as error:
        from tlcore.backend.installed import MODULES, missing_backend

        reason = missing_backend()
        if reason is None or error.name not in MODULES.values():
            raise
        raise ModuleNotFoundError(reason, name=error.name) from error
    value = getattr(module, name)
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
