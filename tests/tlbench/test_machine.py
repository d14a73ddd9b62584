"""The machine, read from scripted files and a scripted nvidia-smi."""

import os
import re
import subprocess
from importlib import metadata

import pytest

from tlbench import machine

GPU = "NVIDIA H100, 81559 MiB"


@pytest.fixture
def root(tmp_path):
    """The files of a machine with 64 GiB."""
    files = {
        "proc/cpuinfo": "model name\t: AMD EPYC 7B13\ncpu MHz\t\t: 2450.0\n"
        "model name\t: AMD EPYC 7B13\ncpu MHz\t\t: 2550.0\n",
        "proc/meminfo": f"MemTotal:       {64 * 2**20} kB\n",
        "sys/fs/cgroup/cpu.max": "max 100000\n",
        "sys/fs/cgroup/memory.max": "max\n",
        "sys/fs/cgroup/cpu.stat": "usage_usec 1\nnr_throttled 7\n",
        "sys/class/thermal/thermal_zone0/temp": "45000\n",
        "sys/class/thermal/thermal_zone1/temp": "61000\n",
        "proc/pressure/cpu": "some avg10=1.25 avg60=0 avg300=0 total=1\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def ask(kind, fields):
    if kind == "compute-apps":
        return [["17", "900 MiB"], [str(os.getpid()), "400 MiB"]]
    if fields.startswith("name"):
        return [["NVIDIA H100", "81559 MiB", "570.1"]] * 2
    return [["33", "1980 MHz", "1980 MHz", "70 W", "0x0", "0 %"]]


def test_the_identity_is_what_must_match(root, monkeypatch):
    for name in machine.SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TF_DETERMINISTIC_OPS", "1")
    found = machine.identity({"precision": "float32"}, root=root, ask=ask)
    assert found["cpu"] == "AMD EPYC 7B13"
    assert found["memory_gib"] == 64
    assert found["gpus"] == [GPU, GPU]
    assert found["driver"] == ["570.1"]
    assert found["precision"] == "float32"
    assert found["settings"] == {"TF_DETERMINISTIC_OPS": "1"}
    assert "keras" in found["frameworks"]


@pytest.mark.parametrize(
    ("file", "text", "key", "value"),
    [
        ("sys/fs/cgroup/memory.max", str(16 * 2**30), "memory_gib", 16),
        ("sys/fs/cgroup/cpu.max", "100000 100000", "cpus", 1),
        ("proc/cpuinfo", "Hardware\t: A board\n", "cpu", "A board"),
    ],
)
def test_limits_and_other_systems_are_read(root, file, text, key, value):
    (root / file).write_text(text)
    assert machine.identity(root=root, ask=None)[key] == value


# As hosted runners report themselves.

EPYC = "AMD EPYC 7763 64-Core Processor"
XEON = "Intel(R) Xeon(R) Platinum 8370C CPU @ 2.80GHz"


def runner(root, name, *, kib=16_373_792, mhz=3242.0, hypervisor="Microsoft"):
    cores = "".join(
        f"processor\t: {n}\nmodel name\t: {name}\nmicrocode\t: 0x{n}\n"
        f"cpu MHz\t\t: {mhz}\nflags\t\t: fpu hypervisor {hypervisor}\n"
        for n in range(4)
    )
    (root / "proc/cpuinfo").write_text(cores)
    (root / "proc/meminfo").write_text(f"MemTotal:       {kib} kB\n")
    return machine.machine_id(machine.identity(root=root, ask=None))


@pytest.mark.parametrize("name", [EPYC, XEON])
@pytest.mark.parametrize(
    "other",
    [
        {"kib": 16_379_636},  # another kernel keeps less for itself
        {"kib": 15_960_000},
        {"mhz": 2445.4},
        {"hypervisor": "KVM"},
    ],
    ids=str,
)
def test_runners_of_one_kind_are_one_machine(root, monkeypatch, name, other):
    before = runner(root, name)
    monkeypatch.setattr(machine.platform, "node", lambda: "fv-az1234-567")
    monkeypatch.setattr(machine.platform, "release", lambda: "6.11.0-1018-azure")
    monkeypatch.setattr(machine.platform, "version", lambda: "#18~24.04.1-Ubuntu")
    monkeypatch.setattr(machine.platform, "python_version_tuple", lambda: PATCHED)
    assert runner(root, name, **other) == before


PATCHED = (*machine.platform.python_version_tuple()[:2], "99")


def test_the_clock_in_the_name_of_a_model_makes_no_other_machine(root):
    names = [XEON, XEON.replace("2.80", "2.79"), XEON.replace(" CPU", "  CPU")]
    assert len({runner(root, name) for name in names}) == 1


def test_other_models_and_sizes_are_other_machines(root):
    found = {
        runner(root, EPYC),
        runner(root, XEON),
        runner(root, "AMD EPYC 9V74 80-Core Processor"),
        runner(root, "Intel(R) Xeon(R) CPU @ 2.20GHz"),
        runner(root, "Intel(R) Xeon(R) CPU @ 2.30GHz"),
        runner(root, EPYC, kib=7_113_132),
        runner(root, EPYC, kib=32_862_000),
    }
    assert len(found) == 7


def test_an_arm_server_is_told_from_another_by_its_part(root):
    text = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: {}\n\n"
    found = set()
    for part in ("0xd49", "0xd0c"):
        (root / "proc/cpuinfo").write_text(2 * text.format(part))
        found.add(machine.identity(root=root, ask=None)["cpu"])
    assert {one.partition(" ")[2] for one in found} == {"0x41 0xd49", "0x41 0xd0c"}


def test_a_machine_that_reveals_nothing_has_an_identity_all_the_same(tmp_path):
    found = machine.identity(root=tmp_path, ask=None)
    assert found["gpus"] == []
    assert found["memory_gib"] == 0
    assert machine.machine_id(found)


def test_what_a_suite_adds_must_be_plain():
    with pytest.raises(ValueError, match=r"Received: {'policy': .*Return strings"):
        machine.identity({"policy": object()}, ask=None)


@pytest.mark.parametrize(
    ("cpu", "gpus", "start"),
    [
        ("Intel(R) Xeon(R) CPU @ 2.20GHz", [], "intel-xeon-x8-"),
        ("AMD EPYC 7B13 64-Core Processor", [], "amd-epyc-7b13-64-core-x8-"),
        ("AMD EPYC", [GPU, GPU], "nvidia-h100-x2-"),
        ("///", [], "machine-x8-"),
    ],
)
def test_a_machine_is_named_by_its_device(root, cpu, gpus, start):
    found = {
        **machine.identity(root=root, ask=None),
        "cpu": cpu,
        "gpus": gpus,
        "cpus": 8,
    }
    name = machine.machine_id(found)
    assert name.startswith(start)
    assert len(name) == len(start) + 8


def test_any_difference_makes_another_name(root):
    found = machine.identity(root=root, ask=ask)
    names = {machine.machine_id(found)}
    changes = {"driver": ["571"], "cpus": 99, "python": "3.9", "precision": "mixed"}
    for key, value in changes.items():
        names.add(machine.machine_id({**found, key: value}))
    assert len(names) == 5


def test_differences_are_said_ours_last(root):
    theirs = machine.identity({"precision": "float32"}, root=root, ask=ask)
    ours = {
        **theirs,
        "gpus": [GPU],
        "frameworks": {**theirs["frameworks"], "keras": "9.9"},
        "precision": None,
    }
    keras = theirs["frameworks"]["keras"]
    assert machine.differences(ours, theirs) == (
        f"keras {keras} -> 9.9",
        f"gpus {GPU} + {GPU} -> {GPU}",
        "precision float32 -> none",
    )
    assert machine.differences(theirs, theirs) == ()


def test_the_key_of_costs_leaves_out_what_costs_do_not_depend_on():
    versions = {"numpy": "2.0", "keras": "3.15.1", "tensorflow": "2.21.0"}
    found = {"frameworks": versions}
    assert machine.framework_key(found) == "keras 3.15.1, tensorflow 2.21.0"
    assert machine.framework_key({"frameworks": {}}) == "no framework"


def test_costs_of_two_backends_are_kept_apart_where_both_are_installed():
    versions = {"jax": "0.10.2", "keras": "3.15.1", "tensorflow": "2.21.0"}
    keys = {
        machine.framework_key({"frameworks": versions, **extra})
        for extra in ({}, {"backend": "jax"}, {"backend": "torch"})
    }
    assert len(keys) == 3


def test_the_context_explains(root):
    found = machine.context(root=root, ask=ask)
    assert found["cpu_mhz"] == 2500
    assert found["celsius"] == 61
    assert found["throttled"] == 7
    assert found["pressure"] == 1.25
    assert found["gpu_programs"] == ["17 900 MiB"]  # ours is none of the others
    assert "governor" not in found


def test_without_an_answer_there_is_no_gpu(monkeypatch):
    def hang(*_arguments, **_options):
        raise subprocess.TimeoutExpired("nvidia-smi", 10)

    monkeypatch.setattr(subprocess, "run", hang)
    assert machine.nvidia_smi() is None


def test_what_nvidia_smi_says_is_read_by_the_line(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA H100'\necho 'NVIDIA H100'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    found = machine.nvidia_smi()
    assert found is not None
    assert found("gpu", "name") == [["NVIDIA H100"]] * 2
    assert found("gpu", "name,memory.total") == []  # not the fields asked for


def test_a_commit_is_found_where_there_is_one(tmp_path):
    assert machine.commit(tmp_path) == ""
    for words in (
        ["init", "-q"],
        [
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "commit",
            "-qm",
            "x",
            "--allow-empty",
        ],
    ):
        subprocess.run(["git", "-C", tmp_path, *words], check=True)
    assert len(machine.commit(tmp_path)) == 12


def test_no_framework_is_one_that_tlbench_itself_needs():
    """What it brings along would make another machine with each of its releases."""
    known, new = set(), {"tlbench"}
    while new:
        known |= new
        needed = (x for name in new for x in metadata.requires(name) or ())
        names = {
            re.match(r"[\w.-]+", x)[0].lower() for x in needed if "extra ==" not in x
        }
        new = {x for x in names if _installed(x)} - known
    assert "numpy" in known  # by scipy
    assert not known & set(machine.FRAMEWORKS)


def _installed(name):
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


def test_libraries_explain_and_are_no_part_of_the_identity():
    assert machine.context(ask=None)["libraries"].keys() == {"numpy", "scipy"}
    assert not {"numpy", "scipy"} & machine.identity(ask=None)["frameworks"].keys()
