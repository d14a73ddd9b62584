"""What the suites share: sample images, timed epochs and the table of figures."""

import time
from collections.abc import Callable

import pytest
from of_tensorflow import pytest_collection_modifyitems  # noqa: F401 - a hook

import tlcore as tl
from tlcore.caching.store import FOLDER_VARIABLE
from tlcore.data.splits import Splits

CLASSES, PER_CLASS, SIZE, BATCH = 10, 20, 96, 32


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that the suites have."""
    parser.addoption(
        "--small",
        action="store_true",
        help="the GPU suites with small images and few steps, to try them on a CPU",
    )


def pytest_tlbench_identity() -> dict[str, str]:
    """Say which backend Keras has; TensorFlow goes without saying, as ever."""
    from tlcore.backend.installed import chosen_backend

    name = chosen_backend()
    return {} if name == "tensorflow" else {"backend": name}


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
    """Return a function that times epochs; the first is a warm-up.

    It calls another function with the index of each epoch, and records the raw seconds
    under the name "epoch".
    """

    def run(epoch: Callable[[int], object], *, epochs: int) -> None:
        import costs  # here, because collecting tests must load no framework

        counter = iter(range(epochs))
        work: list[float] = []

        def one() -> None:
            before = time.process_time()
            epoch(next(counter))
            costs.synchronize()  # after an epoch, never within one
            work.append(time.process_time() - before)

        benchmark.pedantic(one, rounds=epochs, iterations=1, warmup_rounds=0)
        record.timing("epoch", benchmark.stats.stats.data, warmup=1, cpu=work)

    return run


@pytest.fixture(scope="session", autouse=True)
def _feature_cache_of_its_own(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("features")))
        yield


@pytest.fixture(scope="session")
def _table_rows(pytestconfig: pytest.Config):
    """Collect lines of a table, which is printed once all cases are done."""
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
    """Return a function that records a figure and compares it with a target.

    The figure is the ratio of `plain` to `ours`, or `ours` itself if `plain` is None.
    It must reach `at_least`, stay below `at_most`, or be `within` a distance of 1. The
    test fails at its end, so that all of its figures are in the table.
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
