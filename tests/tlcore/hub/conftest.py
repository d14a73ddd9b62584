"""What tests of the wing share: SavedModels that do more than compute."""

import pytest


def save_writing(folder, target):
    """Save a SavedModel that writes a file when it is loaded, and one when called."""
    tf = pytest.importorskip("tensorflow")
    from tensorflow.python.trackable.resource import TrackableResource

    class Writing(TrackableResource):
        def _create_resource(self):
            return tf.raw_ops.MutableHashTableV2(
                key_dtype=tf.string, value_dtype=tf.int64, shared_name="writing"
            )

        def _initialize(self):
            tf.io.write_file(str(target), "loaded")

    class Model(tf.train.Checkpoint):
        def __init__(self):
            super().__init__()
            self.writing = Writing()
            self.handle = self.writing.resource_handle

        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
        def __call__(self, inputs):
            tf.io.write_file(f"{target}.called", "called")
            return 2 * inputs

    tf.saved_model.save(Model(), str(folder))
    target.unlink(missing_ok=True)
    return folder


@pytest.fixture(scope="session")
def writing(tmp_path_factory):
    """Return the folder of a SavedModel that writes files, and the first of them."""
    folder = tmp_path_factory.mktemp("writing")
    return save_writing(folder / "model", folder / "owned"), folder / "owned"
