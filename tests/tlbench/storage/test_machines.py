"""The identities of machines, written once."""

from tlbench.storage.machines import read_machines, write_machine


def test_machines_survive_and_are_written_once(tmp_path):
    write_machine(tmp_path, "m", {"cpu": "A"})
    write_machine(tmp_path, "m", {"cpu": "B"})
    assert read_machines(tmp_path) == {"m": {"cpu": "A"}}
