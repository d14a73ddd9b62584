"""Workers: processes write the bytes that one process writes."""

import io
import subprocess
import sys
import warnings
from contextlib import redirect_stdout

import numpy as np
import pytest

from tlcore.backend import seam
from tlcore.caching import workers
from tlcore.caching.feeds import CacheOptions, training_feed
from tlcore.data.image_folder import image_folder

from .networks import SIZE, Computed, Halving, compiled, tiny


@pytest.fixture(scope="module")
def folder(images):
    """Return images in two blocks, one for each of two workers."""
    return image_folder(images, image_size=SIZE, batch_size=9)


class WithinThisProcess:
    """A worker that ran in this process, and what it printed."""

    def __init__(self, command, number, count, errors):
        with redirect_stdout(io.StringIO()) as printed, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as by default; errors here are pytest's
            workers.main(command[3:])
        self.stdout = printed.getvalue().splitlines()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def terminate(self):
        pass


@pytest.fixture
def _within_this_process(monkeypatch):
    """Run workers where TensorFlow is imported already."""
    monkeypatch.setattr(workers, "_worker", WithinThisProcess)


class TestBytes:
    def check(self, tmp_path, folder):
        entries = []
        for number in (1, 2):
            cache, computed = tmp_path / str(number), Computed()
            options = CacheOptions(cache, views=1, workers=number, progress=computed)
            model = compiled(tiny(augmentation="tutorial"))
            feed = training_feed(model, folder, options, range(len(folder)))
            assert feed.sentence.startswith("1 view, cached at")
            (path,) = cache.glob("*.features")
            entries.append((path.name, path.read_bytes()))
            assert computed.images == [("train", 45)]
        assert entries[0] == entries[1]

    @pytest.mark.matrix
    def test_a_worker_writes_those_of_its_parent(self, tmp_path, folder, monkeypatch):
        start = workers._worker

        def one_of_two(command, number, count, errors):
            # A process imports TensorFlow for seconds: one of two is enough here.
            worker = start if number else WithinThisProcess
            return worker(command, number, count, errors)

        monkeypatch.setattr(workers, "_worker", one_of_two)
        self.check(tmp_path, folder)

    @pytest.mark.matrix
    def test_two_workers_write_those_of_one_pass(self, tmp_path, folder):
        self.check(tmp_path, folder)


class TestWhatGoesWrong:
    def sentence(self, folder, cache, layer=None):
        model, options = compiled(tiny(foreign=layer)), CacheOptions(cache, workers=2)
        sentence = training_feed(model, folder, options, range(1)).sentence
        assert not list(cache.glob("*.features"))
        return sentence

    def check_unloadable(self, tmp_path, folder):
        class Local(Halving):
            """A layer that nobody finds by its name."""

        sentence = self.sentence(folder, tmp_path, Local(name="own"))
        assert sentence.startswith("end to end, a worker could not compute it: ")

    @pytest.mark.matrix
    def test_a_model_that_no_other_process_can_load_runs_end_to_end(
        self, tmp_path, folder
    ):
        self.check_unloadable(tmp_path, folder)

    @pytest.mark.usefixtures("_within_this_process")
    def test_a_model_that_cannot_be_loaded_runs_end_to_end(self, tmp_path, folder):
        self.check_unloadable(tmp_path, folder)

    @pytest.mark.usefixtures("_within_this_process")
    def test_a_model_that_changes_when_it_is_loaded_runs_end_to_end(
        self, tmp_path, folder, monkeypatch
    ):
        def load_another(path):
            model = tiny()
            kernel = model.get_layer("tiny").network.get_layer("first").kernel
            kernel.assign(2 * kernel)
            return model

        monkeypatch.setattr(workers, "load_model", load_another)
        sentence = self.sentence(folder, tmp_path)
        assert sentence.endswith("the model changes when it is saved and loaded")

    @pytest.mark.usefixtures("_within_this_process")
    def test_a_worker_that_rounds_otherwise_runs_end_to_end(
        self, tmp_path, folder, monkeypatch
    ):
        class Otherwise(workers.Prefix):
            def __call__(self, images):
                return [np.nextafter(x, np.inf) for x in super().__call__(images)]

        monkeypatch.setattr(workers, "Prefix", Otherwise)
        monkeypatch.setattr(seam.current(), "switches", lambda: {"threads": 2})
        sentence = self.sentence(folder, tmp_path)
        assert sentence == "end to end, a worker has fewer threads and rounds otherwise"
        assert list(tmp_path.rglob("*.features")) == []

    @pytest.mark.parametrize(
        ("code", "last_words"),
        [
            ("import sys; sys.exit('Killed: 9')", "Killed: 9"),
            ("pass", "it printed no error"),
            pytest.param(
                "print('{\"done\": 3}')",
                "it printed no error",
                marks=pytest.mark.matrix,
            ),
        ],
    )
    def test_a_worker_that_ends_too_early_is_named_with_its_last_words(
        self, tmp_path, folder, monkeypatch, code, last_words
    ):
        def end(command, number, count, errors):
            program, pipe = [sys.executable, "-c", code], subprocess.PIPE
            return subprocess.Popen(program, stdout=pipe, stderr=errors, text=True)

        monkeypatch.setattr(workers, "_worker", end)
        sentence = self.sentence(folder, tmp_path)
        assert sentence == f"end to end, a worker ended too early: {last_words}"


def test_threads_and_gpus_are_divided_among_workers(monkeypatch, tmp_path):
    started = []
    monkeypatch.setattr(workers.os, "cpu_count", lambda: 8)
    backend = seam.current()
    monkeypatch.setattr(backend, "devices", lambda: ["gpu:0", "gpu:1"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    monkeypatch.setattr(
        workers.subprocess, "Popen", lambda command, **options: started.append(options)
    )
    for number in range(3):
        workers._worker(["python"], number, 3, errors=None)
    environments = [options["env"] for options in started]
    (threads,) = {tuple(env[x] for x in backend.threads(2)) for env in environments}
    assert set(threads) == {"2"}
    gpus = [env["CUDA_VISIBLE_DEVICES"] for env in environments]
    assert gpus == ["5", "7", "5"]
