"""Kinds of machines: names and sizes that differ by nothing that matters."""

import pytest

from tlbench import kinds


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("AMD EPYC 7763 64-Core Processor", "AMD EPYC 7763 64-Core Processor"),
        (
            "Intel(R) Xeon(R) CPU E5-2673 v4 @ 2.30GHz",
            "Intel(R) Xeon(R) CPU E5-2673 v4",
        ),
        ("Intel(R) Core(TM)  i7-8700K CPU @ 3700MHz", "Intel(R) Core(TM) i7-8700K CPU"),
        # The model is hidden: the clock is all there is.
        ("Intel(R) Xeon(R) CPU @ 2.20GHz", "Intel(R) Xeon(R) CPU @ 2.20GHz"),
        ("AMD EPYC-Milan Processor", "AMD EPYC-Milan Processor"),
        ("aarch64", "aarch64"),
    ],
)
def test_a_processor_is_its_model(name, model):
    assert kinds.processor(name) == model
    assert kinds.processor(model) == model


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8, 14, 16, 32, 56, 64, 96, 256])
def test_a_machine_that_keeps_up_to_six_percent_for_itself_has_its_size(size):
    for share in (0.94, 0.96, 0.98, 1.0, 1.005):
        assert kinds.memory(size * share) == size


def test_a_kind_is_that_of_itself_and_keeps_what_else_there_is():
    raw = {"cpu": "Intel(R) Xeon(R) Gold 6148 CPU @ 2.40GHz", "memory_gib": 15, "x": 1}
    found = kinds.kind(raw)
    assert found == {"cpu": "Intel(R) Xeon(R) Gold 6148 CPU", "memory_gib": 16, "x": 1}
    assert kinds.kind(found) == found
    assert kinds.kind({"python": "3.11"}) == {"python": "3.11"}
    assert kinds.memory(0) == 0
