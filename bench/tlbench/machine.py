"""The machine that a run took place on.

Owns the identity, which must match for two figures to be compared, and the context,
which only explains them. Both are read from the system and from the metadata of
installed packages: no framework is imported, and what cannot be read is left out rather
than guessed.
"""

import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TypeAlias

from tlbench import kinds

Identity: TypeAlias = dict[str, Any]
Context: TypeAlias = dict[str, Any]
Query: TypeAlias = Callable[[str, str], list[list[str]]]
"""Asks `nvidia-smi` for the fields of one kind of thing; returns one row for each."""

FRAMEWORKS = (
    "jax",
    "jaxlib",
    "keras",
    "onnxruntime",
    "tensorflow",
    "tensorflow-cpu",
    "tf-keras",
    "tf-nightly",
    "keras-nightly",
    "torch",
    "torchvision",
)
"""Distributions whose version decides how much a program costs.

None that tlbench itself needs: what it brings along is no statement of the suite. A
suite whose figures depend on such a library adds it by `pytest_tlbench_identity`.
"""

LIBRARIES = ("numpy", "scipy")
"""Libraries that may explain a figure but do not make another machine."""

SETTINGS = (
    "CUDA_VISIBLE_DEVICES",
    "KERAS_BACKEND",
    "MKL_NUM_THREADS",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "TF_CUDNN_DETERMINISTIC",
    "TF_DETERMINISTIC_OPS",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_GPU_ALLOCATOR",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "XLA_FLAGS",
)
"""Environment variables that set devices, precision, threads or determinism."""

_GIB = 2**30
_ANSWER_SECONDS = 10  # nvidia-smi hangs when its driver does


def identity(
    extra: Mapping[str, Any] | None = None, *, root: Path = Path("/"), ask: Query | None
) -> Identity:
    """Return what must match for figures to be compared.

    Args:
        extra: what only a suite knows, such as its precision policy.
        root: the root of the file system that is read.
        ask: how to ask `nvidia-smi`; None if there is no GPU.

    Returns:
        Plain JSON values, by name.

    Raises:
        ValueError: `extra` is not plain JSON.
    """
    gpus = ask("gpu", "name,memory.total,driver_version") if ask else []
    # What changes without a difference to figures is left out or rounded: the host's
    # name, its kernel and hypervisor, patch releases of Python, the memory that a
    # kernel reserves, the clock in the name of a processor.
    found: Identity = {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": kinds.processor(_cpu(root)),
        "cpus": _cpus(root),
        "memory_gib": kinds.memory(_memory(root) / _GIB),
        "gpus": [f"{name}, {memory}" for name, memory, *_ in gpus],
        "driver": sorted({driver for *_, driver in gpus}),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "frameworks": frameworks(),
        "settings": {key: os.environ[key] for key in SETTINGS if key in os.environ},
    }
    if gpus:
        found["cuda"] = _versions(
            ("nvidia-cuda-runtime-cu12", "nvidia-cudnn-cu12", "nvidia-cuda-runtime")
        )
    return found | _plain(extra or {})


def own_versions() -> dict[str, str]:
    """Return the version of tlbench, and of tlcore where that is installed."""
    return _versions(("tlbench", "tlcore"))


def frameworks() -> dict[str, str]:
    """Return the installed frameworks with their versions."""
    return _versions(FRAMEWORKS)


def libraries() -> dict[str, str]:
    """Return the installed libraries of `LIBRARIES` with their versions."""
    return _versions(LIBRARIES)


def framework_key(found: Identity) -> str:
    """Return the key that costs are accepted under.

    Versions of the frameworks, and the field `backend` where a suite's identity has
    one: the framework that counts of those that are installed.

    >>> versions = {"numpy": "2.0", "keras": "3.15.1", "jax": "0.10.2"}
    >>> framework_key({"frameworks": versions, "backend": "jax"})
    'jax 0.10.2, keras 3.15.1, backend jax'
    """
    # Neither decides what is counted as a cost; of before, identities have NumPy.
    left_out = {"numpy", "torchvision"}
    heavy = {k: v for k, v in found["frameworks"].items() if k not in left_out}
    words = [f"{k} {v}" for k, v in sorted(heavy.items())]
    if "backend" in found:
        words.append(f"backend {found['backend']}")
    return ", ".join(words) or "no framework"


def machine_id(found: Identity) -> str:
    """Return the name of a machine's folder: readable, and unique to its identity."""
    # The slug is for people; the digest is of everything that must match.
    device = (found["gpus"] or [found["cpu"]])[0].partition(",")[0]
    words = re.sub(r"\((r|tm)\)|cpu|processor|@.*", " ", device.lower())
    slug = re.sub(r"[^a-z0-9]+", "-", words).strip("-") or "machine"
    count = len(found["gpus"]) or found["cpus"]
    digest = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
    return f"{slug[:40]}-x{count}-{digest[:8]}"


def differences(ours: Identity, theirs: Identity) -> tuple[str, ...]:
    """Return in which fields two machines differ, as "field theirs -> ours"."""
    found = []
    ours, theirs = kinds.kind(ours), kinds.kind(theirs)
    for key in sorted(ours.keys() | theirs.keys()):
        old, new = theirs.get(key), ours.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += [
                f"{name} {old.get(name, 'none')} -> {new.get(name, 'none')}"
                for name in sorted(old.keys() | new.keys())
                if old.get(name) != new.get(name)
            ]
        elif old != new:
            found.append(f"{key} {_shown(old)} -> {_shown(new)}")
    return tuple(found)


def context(*, root: Path = Path("/"), ask: Query | None) -> Context:
    """Return what may explain a figure: load, clocks, heat, limits, other programs."""
    found: Context = {
        "load": _load(),
        "cpu_mhz": _mean(
            re.findall(r"cpu MHz\s*: ([\d.]+)", _text(root, "proc/cpuinfo"))
        ),
        "governor": _text(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "celsius": _hottest(root),
        "cpu_limit": _text(root, "sys/fs/cgroup/cpu.max"),
        "memory_limit": _text(root, "sys/fs/cgroup/memory.max"),
        "throttled": _throttled(root),
        "pressure": _pressure(root),
        "libraries": libraries(),
    }
    if ask:
        fields = (
            "temperature.gpu,clocks.sm,clocks.max.sm,power.draw,"
            "clocks_event_reasons.active,utilization.gpu"
        )
        found["gpus"] = [" ".join(gpu) for gpu in ask("gpu", fields)]
        found["gpu_programs"] = _foreign(ask("compute-apps", "pid,used_memory"))
    return {
        key: value for key, value in found.items() if value not in ("", None, [], {})
    }


def commit(folder: Path) -> str:
    """Return the commit of a folder, with a `+` if files were changed since."""
    # --exclude=*: the commit itself, not its distance to a tag.
    words = [
        "git",
        "-C",
        str(folder),
        "describe",
        "--always",
        "--dirty=+",
        "--abbrev=12",
    ]
    try:
        done = subprocess.run(  # noqa: S603 - fixed words
            [*words, "--exclude=*"], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def nvidia_smi() -> Query | None:
    """Return how to ask `nvidia-smi`; None without it or without a GPU."""

    def ask(kind: str, fields: str) -> list[list[str]]:
        try:
            done = subprocess.run(  # noqa: S603 - fixed words
                ["nvidia-smi", f"--query-{kind}={fields}", "--format=csv,noheader"],  # noqa: S607
                capture_output=True,
                text=True,
                timeout=_ANSWER_SECONDS,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return []
        # Its errors come on standard output too: a row counts if it has all fields.
        rows = [line.split(", ") for line in done.stdout.splitlines() if line.strip()]
        return [row for row in rows if len(row) == fields.count(",") + 1]

    return ask if ask("gpu", "name") else None


def _versions(names: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _plain(extra: Mapping[str, Any]) -> dict[str, Any]:
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(extra), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            "What a suite adds to the machine's identity must be plain JSON. "
            f"Received: {extra!r} ({error}). Return strings and numbers by name."
        ) from error
    return plain


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " + ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _text(root: Path, path: str) -> str:
    try:
        return (root / path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _cpu(root: Path) -> str:
    text = _text(root, "proc/cpuinfo")
    # x86 says "model name", ARM boards "Model" or "Hardware", some virtual machines
    # nothing at all.
    name = re.search(r"^(?:model name|Model|Hardware)\s*: (.+)$", text, re.MULTILINE)
    if name:
        return name[1].strip()
    # ARM servers give numbers instead, of the maker and of the part.
    numbers = re.findall(r"^CPU (?:implementer|part)\s*: (\S+)$", text, re.MULTILINE)
    if numbers:
        return f"{platform.machine()} {' '.join(dict.fromkeys(numbers))}"
    return platform.processor() or platform.machine()


def _cpus(root: Path) -> int:
    """Return how many processors this process may use, by affinity and by cgroup.

    By hand: `os.cpu_count` counts the host's, also inside a container with fewer, and
    `os.process_cpu_count` (Python 3.13) knows affinity but no cgroup.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = re.match(r"(\d+) (\d+)", _text(root, "sys/fs/cgroup/cpu.max"))
    # A quota of 1.5 processors lets two of them run: rounded up.
    return min(count, -(-int(quota[1]) // int(quota[2]))) if quota else count


def _memory(root: Path) -> int:
    # The host's memory, or the container's limit if that is smaller.
    total = re.search(r"MemTotal:\s+(\d+) kB", _text(root, "proc/meminfo"))
    nbytes = int(total[1]) * 1024 if total else 0
    limit = _text(root, "sys/fs/cgroup/memory.max")
    return min(nbytes or int(limit), int(limit)) if limit.isdigit() else nbytes


def _load() -> float | None:
    getloadavg = getattr(os, "getloadavg", None)
    return round(getloadavg()[0], 2) if getloadavg else None


def _mean(values: Sequence[str]) -> int | None:
    return round(sum(map(float, values)) / len(values)) if values else None


def _hottest(root: Path) -> int | None:
    zones = (root / "sys/class/thermal").glob("thermal_zone*/temp")
    texts = [_text(zone.parent, zone.name) for zone in zones]
    heat = [int(text) // 1000 for text in texts if text.isdigit()]
    return max(heat, default=None)


def _throttled(root: Path) -> int | None:
    found = re.search(r"nr_throttled (\d+)", _text(root, "sys/fs/cgroup/cpu.stat"))
    return int(found[1]) if found else None


def _pressure(root: Path) -> float | None:
    found = re.search(r"some avg10=([\d.]+)", _text(root, "proc/pressure/cpu"))
    return float(found[1]) if found else None


def _foreign(programs: Sequence[Sequence[str]]) -> list[str]:
    """Return the other programs on the GPUs, as "pid memory"."""
    return [" ".join(row) for row in programs if row[0] != str(os.getpid())]
