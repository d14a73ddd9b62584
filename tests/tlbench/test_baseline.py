"""The machine at hand, and the folder that runs of its kind share."""

from tlbench.baseline import Machine
from tlbench.storage.baselines import figures_path, write_figures
from tlbench.storage.machines import write_machine

RAW = {
    "cpu": "Intel(R) Xeon(R) Platinum 8370C CPU @ 2.80GHz",
    "cpus": 4,
    "memory_gib": 15,
    "gpus": [],
    "frameworks": {},
}
"""As identities were written before kinds were told apart."""

NOW = {**RAW, "cpu": "Intel(R) Xeon(R) Platinum 8370C CPU", "memory_gib": 16}


def test_a_kind_that_is_known_goes_on_under_its_name(tmp_path):
    old = Machine.of(RAW).name
    write_machine(tmp_path, old, RAW)
    assert Machine.of(NOW).name != old
    found = Machine.at(tmp_path, NOW)
    assert (found.name, found.identity) == (old, NOW)


def test_of_two_folders_of_one_kind_that_with_a_baseline_is_taken(tmp_path):
    for name in ("a", "b"):
        write_machine(tmp_path, name, RAW)
    assert Machine.at(tmp_path, NOW).name == "a"
    write_figures(tmp_path, "b", {})
    assert figures_path(tmp_path, "b").exists()
    assert Machine.at(tmp_path, NOW).name == "b"


def test_another_kind_gets_a_name_of_its_own(tmp_path):
    write_machine(tmp_path, "a", {**RAW, "cpus": 2})
    assert Machine.at(tmp_path, NOW) == Machine.of(NOW)
    assert Machine.at(tmp_path / "nowhere", NOW) == Machine.of(NOW)
