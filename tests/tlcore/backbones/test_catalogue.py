"""Catalogue: names, contracts and counts, without a framework."""

from pathlib import Path

import pytest

from tlcore.backbones.catalogue import (
    CATALOGUE,
    find_entry,
    is_hub_handle,
    list_backbones,
)


def test_the_names_are_those_that_users_rely_on():
    assert list_backbones() == (
        *(f"efficientnet_b{i}" for i in range(8)),
        *(f"efficientnet_v2_{x}" for x in ("b0", "b1", "b2", "b3", "s", "m", "l")),
        "resnet50",
        "resnet101",
        "resnet152",
        "resnet50_v2",
        "resnet101_v2",
        "resnet152_v2",
        "vgg16",
        "vgg19",
        "xception",
        "inception_v3",
        "inception_resnet_v2",
        "mobilenet",
        "mobilenet_v2",
        "mobilenet_v2_035",
        "mobilenet_v3_small",
        "mobilenet_v3_large",
        "densenet121",
        "densenet169",
        "densenet201",
        "nasnet_mobile",
        "nasnet_large",
        *(f"convnext_{x}" for x in ("tiny", "small", "base", "large", "xlarge")),
        "sample_net",
    )


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("efficientnet_b0", 4_049_571),
        ("efficientnet_b4", 17_673_823),
        ("resnet50", 23_587_712),
        ("resnet50_v2", 23_564_800),
        ("vgg16", 14_714_688),
        ("vgg19", 20_024_384),
        ("xception", 20_861_480),
        ("inception_v3", 21_802_784),
        ("mobilenet", 3_228_864),
        ("mobilenet_v2_035", 410_208),
        ("densenet121", 7_037_504),
        ("inception_resnet_v2", 54_336_736),
        ("nasnet_mobile", 4_269_716),
        ("resnet152", 58_370_944),
    ],
)
def test_the_manifest_holds_the_published_counts(name, params):
    assert CATALOGUE[name].manifest.params == params


@pytest.mark.parametrize(
    ("scheme", "names"),
    [
        ("raw", ["efficientnet_b0", "efficientnet_b7", "efficientnet_v2_b0"]),
        ("raw", ["mobilenet_v3_small", "convnext_xlarge", "efficientnet_v2_l"]),
        ("torch", ["densenet121", "densenet169", "densenet201"]),
        ("caffe", ["resnet50", "vgg16", "vgg19"]),
        ("signed", ["resnet50_v2", "xception", "inception_v3", "mobilenet_v2_035"]),
    ],
)
def test_each_family_has_its_input_contract(scheme, names):
    assert {CATALOGUE[name].contract.scheme for name in names} == {scheme}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("efficientnetb3", "efficientnet_b3"),
        ("convnext-tiny", "convnext_tiny"),
        ("MobileNetV3Small", "mobilenet_v3_small"),
        ("DenseNet121", "densenet121"),
        ("ResNet101V2", "resnet101_v2"),
        ("nasnetlarge", "nasnet_large"),
        ("efficientnetv2-s", "efficientnet_v2_s"),
    ],
)
def test_an_unknown_name_is_refused_with_the_valid_ones(typed, meant):
    with pytest.raises(
        ValueError, match=rf"vgg16.*Received: backbone='{typed}'.*'{meant}'"
    ):
        find_entry(typed)


def test_a_name_of_the_catalogue_is_no_handle_even_if_a_folder_has_it(
    monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    for name in ("vgg16", "mine"):
        (tmp_path / name).mkdir()
    assert not is_hub_handle("vgg16")
    assert is_hub_handle("mine")
    assert is_hub_handle("https://tfhub.dev/google/x/1")


def test_the_page_about_backbones_has_this_table():
    page = Path(__file__).parents[3] / "docs" / "backbones.md"
    rows = [
        f"| `{x.name}` | {x.manifest.params:,} | {x.manifest.tensors:,} "
        f"| {x.manifest.layers:,} | {x.manifest.channels:,} | {x.contract.size} "
        f"| {x.contract.min_size} | {x.contract.scheme} |"
        for x in CATALOGUE.values()
    ]
    assert "\n".join(rows) in page.read_text("utf-8")
