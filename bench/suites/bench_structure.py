"""Structure: the exact counts of every backbone in the catalogue.

Nothing here depends on the machine: any difference from `results/any/` is a regression.
"""

import pytest
from measured_backbones import MEASURED

import tlcore as tl
from tlcore.backbones.catalogue import CATALOGUE


def counts(plan) -> dict[str, int]:
    """Return the counts of a freeze plan by name."""
    return {
        "total_params": plan.counts.total_params,
        "trainable_params": plan.counts.trainable_params,
        "trainable_tensors": plan.counts.trainable_tensors,
        "non_trainable_tensors": plan.counts.non_trainable_tensors,
    }


BACKBONES = [
    name if name in MEASURED else pytest.param(name, marks=pytest.mark.matrix)
    for name in tl.list_backbones()
]


@pytest.mark.parametrize("name", BACKBONES)
def bench_backbone(name, record):
    """A backbone with a head of ten classes: frozen, and with 10 layers unfrozen."""
    model = tl.create_model(name, 10, weights=None, input_shape=(96, 96, 3))
    network = model.get_layer(name).network
    record.exact("backbone_params", network.count_params())
    record.exact("backbone_layers", len(network.layers))
    record.exact("output_shape", [n or 0 for n in network.output_shape])
    record.exact("input_contract", CATALOGUE[name].contract.scheme)
    for phase, plan in (("last_10", tl.unfreeze(model)), ("frozen", tl.freeze(model))):
        for key, value in counts(plan).items():
            record.exact(f"{phase}.{key}", value)


def bench_vgg16_with_a_dense_head(record):
    """The tutorial's VGG16 at 150 pixels: 30 trainable tensors, 4 after freezing."""
    model = tl.create_model(
        "vgg16", 1, weights=None, input_shape=(150, 150, 3), head="dense"
    )
    for phase, plan in (
        ("unfrozen", tl.unfreeze(model, last=19)),
        ("frozen", tl.freeze(model)),
    ):
        for key, value in counts(plan).items():
            record.exact(f"{phase}.{key}", value)


def bench_sample_net_weights(record):
    """The packaged weights are the same bits everywhere."""
    network = tl.load_backbone("sample_net", input_shape=(96, 96, 3))
    network.trainable = False
    record.exact("fingerprint", tl.frozen_fingerprint(network))
