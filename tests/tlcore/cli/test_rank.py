"""`tlcore rank`: its table, its files, and what it refuses."""

import json

import pytest

ONE = ("--backbones", "sample_net", "--image-size", 32, "--folds", 2)


@pytest.mark.matrix
def test_it_ends_with_a_table_and_the_best(tlcore, data, tmp_path):
    picture = tmp_path / "rank.png"
    names = "sample_net,mobilenet_v2_035"
    code, out, err = tlcore(
        "rank", "--data", data, *ONE, "--backbones", names, "--weights", "none",
        "--picture", picture,
    )  # fmt: skip
    assert code == 0
    assert "24 images in 3 classes" in err
    assert "is the best on 24 images" in out
    assert "410,208" in out
    assert picture.stat().st_size > 0


def test_as_json_every_figure_is_there(tlcore, data):
    code, out, _ = tlcore("rank", "--data", data, *ONE, "--json")
    (row,) = json.loads(out)
    assert code == 0
    assert (row["backbone"], row["accuracy"]["n"]) == ("sample_net", 24)


def test_weights_of_a_backbone_are_in_a_file(tlcore, data, tmp_path):
    from tlcore.backbones.loading import load_backbone

    file = tmp_path / "net.weights.h5"
    load_backbone("sample_net", input_shape=(32, 32, 3)).save_weights(file)
    own = json.loads(tlcore("rank", "--data", data, *ONE, "--json")[1])
    named = *ONE, "--backbones", f"sample_net={file}", "--json"
    again = json.loads(tlcore("rank", "--data", data, *named)[1])
    assert again[0]["accuracy"] == own[0]["accuracy"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backbones", "sample_net,,vgg16"], "names with commas"),
        (["--backbones", "sample_net="], "names with commas"),
        (["--backbones", "sample_net,sample_net"], "each one once"),
        (["--backbones", "sample_net", "--weights", "x.h5"], "NAME=FILE"),
        (["--backbones", "sample_net=x.weights.h5"], "x.weights.h5"),
        (["--backbones", "sample_net", "--picture", "r.gif2"], "path must end in"),
        (["--backbones", "sample_net", "--data", "nowhere"], "nowhere"),
    ],
)
def test_wrong_input_is_refused_with_a_sentence(tlcore, data, arguments, message):
    code, _, err = tlcore("rank", "--data", data, "--image-size", 32, *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
