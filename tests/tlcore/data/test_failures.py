"""Failures: what a dataset's Python function raises comes out as it was raised."""

from pathlib import Path

import numpy as np
import pytest

import tlcore as tl
from tlcore.cli import main as cli
from tlcore.data.failures import as_raised, raised_inside
from tlcore.data.sample_images import write_sample_images

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.tensorflow


def dataset(action):
    def read(number):
        action()
        return number

    numbers = tf.data.Dataset.range(3)
    return numbers.map(lambda n: tf.numpy_function(read, [n], tf.int64))


def raising(error):
    def action():
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("An image must be. Received: 'a'.\nReplace it."), ValueError),
        (FileNotFoundError("no such file"), FileNotFoundError),
        (PermissionError("not yours"), PermissionError),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "start byte"), ValueError),
    ],
)
def test_wrong_input_is_raised_as_it_was(error, kind):
    with pytest.raises(kind) as caught, as_raised():
        list(dataset(raising(error)))
    assert str(caught.value) == str(error)
    assert isinstance(caught.value.__cause__, tf.errors.OpError)


def test_a_defect_stays_an_error_of_tensorflow():
    with pytest.raises(tf.errors.OpError), as_raised():
        list(dataset(raising(ZeroDivisionError("a defect"))))
    with pytest.raises(tf.errors.OpError), as_raised():
        tf.constant([1, 2]) + tf.constant([1, 2, 3])


def test_other_errors_are_not_looked_into():
    assert raised_inside(KeyError("ValueError: not of TensorFlow")) is None


@pytest.fixture
def folder(tmp_path):
    write_sample_images(tmp_path / "photos", classes=3, per_class=6, size=32)
    return tl.image_folder(tmp_path / "photos", image_size=32, batch_size=4)


@pytest.mark.parametrize(
    "damage", [lambda p: p.unlink(), lambda p: p.write_bytes(b"x")]
)
def test_an_image_that_goes_while_a_model_trains_is_named(folder, tiny, damage):
    model = tiny()
    model.compile("sgd", "categorical_crossentropy")
    damage(Path(folder.paths[0]))
    for use in (
        lambda: tl.fit(model, folder, epochs=1, cache="off", verbose=0),
        lambda: tl.evaluate(model, folder, cache="off"),
    ):
        with pytest.raises(ValueError, match=r"^An image must stay as it .*: .*Put"):
            use()


class TestCommand:
    def ended(self, error, monkeypatch, capsys):
        def fail(*_, **__):
            raise error

        monkeypatch.setattr(cli.tlcore, "main", fail)
        with pytest.raises(SystemExit) as ended:
            cli.main(["recipes"])
        return ended.value.code, capsys.readouterr().err

    def test_a_full_memory_is_a_sentence(self, monkeypatch, capsys):
        message = "failed to allocate memory\n[[{{node a}}]]\nHint: more lines"
        error = tf.errors.ResourceExhaustedError(None, None, message)
        code, said = self.ended(error, monkeypatch, capsys)
        assert (code, said) == (2, "tlcore: error: failed to allocate memory\n")

    def test_a_defect_keeps_its_traceback(self, monkeypatch, capsys):
        with pytest.raises(ZeroDivisionError):
            self.ended(ZeroDivisionError("x"), monkeypatch, capsys)


def test_nothing_is_lost_where_nothing_fails():
    with as_raised():
        assert np.ones(2).sum() == 2
