"""Export: how near each target is to the model, on images that it was not trained on.

Marked slow: `tox -e export`. It uses the photographs and weights in `../shared` where
they stand next to the project, else sample images and the small backbone.
"""

from pathlib import Path

import pytest

import tlcore as tl
from tlcore.runs.runner import RunOptions, run_recipe

SHARED = Path(__file__).parents[3] / "shared"
PHOTOGRAPHS = SHARED / "data/pizza_steak_sushi"
WEIGHTS = SHARED / "weights/mobilenet_v2_035_224_notop.weights.h5"


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.timeout(1800)
def bench_targets(tmp_path, table):
    """The model of a `model_0` run in every form, against the model itself."""
    from tlcore.exporting.exporting import export_run

    data, changes = tmp_path / "data", {"backbone": "sample_net", "image_size": 96}
    if PHOTOGRAPHS.is_dir():
        data = PHOTOGRAPHS
        changes = {"backbone": "mobilenet_v2_035", "weights": str(WEIGHTS)}
    else:
        tl.write_sample_splits(data, classes=3, per_class=150, test_per_class=50)
    recipe = tl.RECIPES["model_0"].changed(percent=100.0, **changes)
    run = run_recipe(recipe, data, RunOptions(out=tmp_path, say=[].append))
    for to in ("savedmodel", "onnx", "litert"):
        found = export_run(run.path, to, tmp_path / to, say=[].append)
        table(f"{to}: largest difference", None, found.difference, at_most=1e-5)
    found = export_run(run.path, "litert", tmp_path / "8", int8=True, say=[].append)
    agreed = found.agreement
    table(f"int8, same class of {agreed.n}", None, agreed.value, at_least=0.98)
