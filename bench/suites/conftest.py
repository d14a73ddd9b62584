"""What the suites share: the sample images they train on, and the clock of rounds."""

from collections.abc import Callable

import pytest

import tlcore as tl
from tlcore.caching.store import FOLDER_VARIABLE
from tlcore.data.splits import Splits

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
        import costs  # late: collecting loads no framework

        counter = iter(range(epochs))

        def one() -> None:
            epoch(next(counter))
            costs.synchronize()  # at the edge of an epoch, never within

        benchmark.pedantic(one, rounds=epochs, iterations=1, warmup_rounds=0)
        record.timing("epoch", benchmark.stats.stats.data, warmup=1)

    return run


@pytest.fixture(scope="session", autouse=True)
def _feature_cache_of_its_own(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("features")))
        yield


@pytest.fixture(scope="session")
def _table_rows(pytestconfig: pytest.Config):
    """Lines that are printed once all cases are done."""
    rows: list[str] = []
    yield rows
    head = "| work | plain Keras | tlcore | ratio | target |"
    manager = pytestconfig.pluginmanager
    reporter = manager.get_plugin("terminalreporter")
    with manager.get_plugin("capturemanager").global_and_fixture_disabled():
        for line in ("", head, "| --- | --- | --- | --- | --- |", *rows):
            reporter.write_line(line)


@pytest.fixture
def table(record, _table_rows) -> Callable[..., None]:
    """Record a figure, put it into the table, and hold it to its target.

    `at_least` is of the ratio where there is another side, else of the figure itself;
    `within` is how far from 1 the ratio may be.
    """

    def add(work, plain, ours, *, at_least=None, at_most=None, within=None):
        value = ours if plain is None else plain / ours
        record.metric(work, value=value)
        target, met = "", True
        if at_least is not None:
            target, met = f"at least {at_least:.3g}", value >= at_least
        if at_most is not None:
            target, met = f"at most {at_most:.3g}", value <= at_most
        if within is not None:
            target, met = f"1 within {within:.0%}", abs(value - 1) <= within
        ratio = "" if plain is None else f"{value:.2f}"
        other = "" if plain is None else f"{plain:.4g}"
        note = "" if met else " (missed)"
        figures = f"{other} | {ours:.4g} | {ratio} | {target}{note}"
        _table_rows.append(f"| {work} | {figures} |")
        if not met:
            misses.append(work)

    misses: list[str] = []
    yield add
    assert not misses, misses
