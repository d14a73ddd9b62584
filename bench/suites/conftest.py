"""What the suites share: the sample images they train on, and the clock of rounds."""

from collections.abc import Callable

import pytest

import tlcore as tl
from tlcore.datasets import Splits

CLASSES, PER_CLASS, SIZE, BATCH = 10, 20, 96, 32


@pytest.fixture(scope="session")
def sample_splits(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    """Ten classes of generated images, 20 + 10 + 10 each, at 96 pixels."""
    directory = tmp_path_factory.mktemp("data") / "sample_images"
    tl.write_sample_splits(directory, classes=CLASSES, per_class=PER_CLASS, size=SIZE)
    return tl.load_splits(
        directory, image_size=(SIZE, SIZE), batch_size=BATCH, label_mode="categorical"
    )


@pytest.fixture
def time_epochs(benchmark, record) -> Callable[..., None]:
    """Time a function of the epoch's index: one round is one epoch, the first warms up.

    The raw seconds go to the record, under the name "epoch".
    """

    def run(epoch: Callable[[int], object], *, epochs: int) -> None:
        counter = iter(range(epochs))
        benchmark.pedantic(
            lambda: epoch(next(counter)), rounds=epochs, iterations=1, warmup_rounds=0
        )
        record.timing("epoch", benchmark.stats.stats.data, warmup=1)

    return run
