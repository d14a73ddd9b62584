"""Operations: what a SavedModel does besides computing is found before it is loaded."""

import shutil

import pytest

from tlcore.cli.main import main
from tlcore.hub.layer import HubLayer
from tlcore.hub.operations import touching_operations
from tlcore.hub.saved_models import load

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.tensorflow


def saved(folder, compute, dtype=tf.float32):
    class Model(tf.train.Checkpoint):
        @tf.function(input_signature=[tf.TensorSpec([None], dtype)])
        def __call__(self, inputs):
            return compute(inputs)

    tf.saved_model.save(Model(), str(folder))
    return folder


def kinds(folder):
    return {line.partition(" in ")[0] for line in touching_operations(folder)}


def to_file(name):
    return lambda x: (tf.print(x, output_stream=name), x)[1]


@pytest.mark.parametrize(
    ("compute", "found"),
    [
        (lambda x: x + tf.strings.to_number(tf.io.read_file("/etc/x")), {"ReadFile"}),
        (lambda x: tf.numpy_function(lambda y: y, [x], tf.float32), {"PyFunc"}),
        (lambda x: tf.py_function(lambda y: y, [x], tf.float32), {"EagerPyFunc"}),
        (lambda x: (tf.io.matching_files("/*"), x)[1], {"MatchingFiles"}),
        (to_file("file:///tmp/printed"), {"PrintV2"}),
        (lambda x: (tf.print(x), x)[1], set()),
        (
            lambda x: tf.raw_ops.RestoreV2(
                prefix="/x", tensor_names=["a"], shape_and_slices=[""], dtypes=["float"]
            )[0],
            {"RestoreV2"},
        ),
        (
            lambda x: tf.cond(
                tf.reduce_sum(x) > 0,
                lambda: (tf.io.write_file("/tmp/never", "x"), x)[1],
                lambda: x,
            ),
            {"WriteFile"},
        ),
        (lambda x: 2 * x, set()),
    ],
)
def test_what_touches_more_than_tensors_is_found(tmp_path, compute, found):
    assert kinds(saved(tmp_path / "model", compute)) == found


def test_checkpoints_and_vocabularies_of_its_own_are_no_find(
    tmp_path, small_saved_model, text_saved_model
):
    assert touching_operations(small_saved_model) == ()  # it restores its variables
    assert touching_operations(text_saved_model) == ()
    words = tmp_path / "words.txt"
    words.write_text("cat\ndog\n")

    class Vocabulary(tf.train.Checkpoint):
        def __init__(self):
            super().__init__()
            self.table = tf.lookup.StaticVocabularyTable(
                tf.lookup.TextFileInitializer(
                    str(words),
                    tf.string,
                    tf.lookup.TextFileIndex.WHOLE_LINE,
                    tf.int64,
                    tf.lookup.TextFileIndex.LINE_NUMBER,
                ),
                1,
            )

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def __call__(self, inputs):
            return self.table.lookup(inputs)

    tf.saved_model.save(Vocabulary(), str(tmp_path / "vocabulary"))
    assert touching_operations(tmp_path / "vocabulary") == ()


def test_a_function_for_checkpoints_that_an_initializer_calls_is_a_find(
    small_saved_model, tmp_path
):
    folder = shutil.copytree(small_saved_model, tmp_path / "m")
    from tensorflow.core.protobuf import saved_model_pb2

    document = saved_model_pb2.SavedModel()
    document.ParseFromString((folder / "saved_model.pb").read_bytes())
    (graph,) = document.meta_graphs
    save = graph.saver_def.save_tensor_name.partition(":")[0]
    node = next(x for x in graph.graph_def.node if x.name == save)
    graph.object_graph_def.concrete_functions[node.attr["f"].func.name].SetInParent()
    (folder / "saved_model.pb").write_bytes(document.SerializeToString())
    assert "SaveV2" in kinds(folder)


def test_an_asset_outside_of_the_folder_is_a_find(text_saved_model, tmp_path):
    folder = shutil.copytree(text_saved_model, tmp_path / "m")
    from tensorflow.core.protobuf import saved_model_pb2

    document = saved_model_pb2.SavedModel()
    document.ParseFromString((folder / "saved_model.pb").read_bytes())
    document.meta_graphs[0].asset_file_def.add(filename="../../secret")
    (folder / "saved_model.pb").write_bytes(document.SerializeToString())
    assert touching_operations(folder) == ("the file '../../secret' as an asset",)


def test_a_damaged_graph_is_refused(small_saved_model, tmp_path):
    folder = shutil.copytree(small_saved_model, tmp_path / "m")
    (folder / "saved_model.pb").write_bytes(b"\x0a\xff\xff\xff")
    with pytest.raises(ValueError, match="must be whole. Received: .*Copy or download"):
        touching_operations(folder)


class TestLayer:
    def test_the_operations_are_listed_and_nothing_has_run(self, writing):
        folder, owned = writing
        sentence = (
            r"nothing but compute.*Received: handle='.*', whose graph holds .*WriteFile"
            r" in .*write tl\.HubLayer\('.*', trust=True\)"
        )
        with pytest.raises(ValueError, match=sentence):
            HubLayer(folder)
        assert not owned.exists()

    def test_with_consent_it_is_loaded(self, writing):
        folder, owned = writing
        load(folder, str(folder))
        assert owned.exists()  # the fixture does what it says
        owned.unlink()
        layer = HubLayer(folder, trust=True)
        assert {"WriteFile"} == {x.partition(" in ")[0] for x in layer.operations}
        assert owned.exists()
        owned.unlink()


class TestRun:
    @pytest.fixture
    def said(self, images, tmp_path, capsys):
        """Return a function that runs a recipe and returns exit code and error."""

        def run(*words):
            options = ["--data", str(images), "--out", str(tmp_path)]
            with pytest.raises(SystemExit) as ended:
                main(["run", "hub_efficientnet_b0", *options, *words])
            return ended.value.code, capsys.readouterr().err

        return run

    def test_without_consent_it_names_the_option(self, said, writing):
        folder, owned = writing
        code, error = said("--handle", str(folder))
        assert code == 2
        assert "WriteFile" in error
        assert "`tlcore run RECIPE --handle ... --trust`" in error
        assert not owned.exists()

    def test_with_consent_it_is_opened(self, said, writing):
        folder, owned = writing
        code, error = said("--handle", str(folder), "--trust")
        assert code == 2
        assert "A backbone must take images" in error  # it takes pairs of numbers
        assert owned.exists()
        owned.unlink()

    def test_consent_needs_a_saved_model(self, said):
        code, error = said("--backbone", "sample_net", "--trust")
        assert code == 2
        assert "trust is for a recipe with a SavedModel" in error
