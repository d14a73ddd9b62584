"""A power cut between two writes: what was said to be written is there.

A disk may lose or reorder whatever was not flushed to it. Here the file events of a
folder of states are recorded, and every state in which a disk may be after each of them
is laid out and read: names that were not flushed are there or not, in any combination,
and content that was not flushed is whole, half or none.
"""

import itertools
from pathlib import Path

import numpy as np
import pytest

from tlcore import files
from tlcore.checkpoints.state_folder import StateFolder


class Disk:
    """What happens to the files of a folder, in order."""

    def __init__(self, folder, monkeypatch, *, flushing=True):
        self.folder, self.events = folder, []
        self.done = 0  # states that were said to be written
        flush, replace, unlink = files._flush, Path.replace, Path.unlink

        def flushed(path):
            flush(path)
            if flushing:
                kind = "names" if Path(path).is_dir() else "content"
                self.events.append((kind, Path(path).name, None))

        def replaced(path, target):
            content = path.read_bytes()
            result = replace(path, target)
            self.events.append(("replace", path.name, (Path(target).name, content)))
            return result

        def unlinked(path, **options):
            there = path.exists()
            unlink(path, **options)
            if there:
                self.events.append(("unlink", path.name, None))

        monkeypatch.setattr(files, "_flush", flushed)
        monkeypatch.setattr(Path, "replace", replaced)
        monkeypatch.setattr(Path, "unlink", unlinked)

    def say(self, epoch):
        self.events.append(("said", epoch, None))

    def states(self):
        """Yield (files by name, the last epoch said) for each state it may be in."""
        for stop in range(len(self.events) + 1):
            yield from _after(self.events[:stop])


def _after(events):
    said, flushed = None, set()
    durable, pending = {}, []
    for kind, name, more in events:
        if kind == "said":
            said = name
        elif kind == "content":
            flushed.add(name)
        elif kind == "replace":
            target, content = more
            whole = name in flushed
            pending.append(("put", target, content, whole))
        elif kind == "unlink":
            pending.append(("drop", name, None, True))
        else:  # the names of the folder
            durable, pending = _applied(durable, pending), []
    for chosen in itertools.product([True, False], repeat=len(pending)):
        kept = [x for x, there in zip(pending, chosen, strict=True) if there]
        names = _applied(durable, kept)
        options = [
            [content] if whole else [content, content[: len(content) // 2], b""]
            for content, whole in names.values()
        ]
        for contents in itertools.product(*options):
            yield dict(zip(names, contents, strict=True)), said


def _applied(names, events):
    names = dict(names)
    for kind, name, content, whole in events:
        if kind == "put":
            names[name] = content, whole
        else:
            names.pop(name, None)
    return names


def lost(disk, tmp_path):
    """Return what is lost or wrong in any state that the disk may be in."""
    found, count = [], 0
    for number, (names, said) in enumerate(disk.states()):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, content in names.items():
            (folder / name).write_bytes(content)
        count += 1
        try:
            state = StateFolder(folder).newest(lambda line: None)
        except ValueError as error:
            if said is not None:
                found.append(f"after {said}: {error}")
            continue
        if (state.arrays["model/0"] != state.epoch).any():
            found.append(f"wrong content of {state.epoch}")
        if said is not None and state.epoch < said:
            found.append(f"{said} was said, {state.epoch} is there")
    return found, count


def record(tmp_path, monkeypatch, **options):
    folder = StateFolder(tmp_path / "states")
    with monkeypatch.context() as patch:
        disk = Disk(folder.path, patch, **options)
        for epoch in range(5):
            arrays = {"model/0": np.full(50, epoch, "float32")}
            folder.write({"epoch": epoch, "step": 0}, arrays)
            disk.say(epoch)
    return disk


def test_a_state_that_was_said_to_be_written_is_there(tmp_path, monkeypatch):
    disk = record(tmp_path, monkeypatch)
    found, count = lost(disk, tmp_path)
    assert found == []
    assert count >= 30


def test_without_flushing_it_would_be_lost(tmp_path, monkeypatch):
    disk = record(tmp_path, monkeypatch, flushing=False)
    disk.events = disk.events[:4]  # later ones have too many combinations
    found, _ = lost(disk, tmp_path)
    assert any("0 was said" in x or "after 0" in x for x in found)


@pytest.mark.parametrize("kind", ["content", "names"])
def test_each_kind_of_flush_is_needed(kind, tmp_path, monkeypatch):
    disk = record(tmp_path, monkeypatch)
    disk.events = [event for event in disk.events[:10] if event[0] != kind]
    found, _ = lost(disk, tmp_path)
    assert found
