"""Targets: what reads what others wrote, each given one odd input by its number.

An attempt ends well if it returns, or refuses with a sentence: a ValueError or an
OSError. Anything else is a defect; the number of the attempt makes it again.
"""

import contextlib
import io
import json
import os
import random
import re
import shutil
import tarfile
import tempfile
import zipfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from PIL import Image

import tlcore as tl
from tlbench import selftest
from tlbench.cli import main as tlbench
from tlbench.storage import documents as tlbench_documents
from tlbench.storage import lines
from tlcore.caching import entry
from tlcore.caching.entry import Key, read_features
from tlcore.caching.store import FeatureCache
from tlcore.cli.main import main as tlcore
from tlcore.data import archives, images
from tlcore.data.download import split_address
from tlcore.data.reading import FITS, ORIENTATIONS
from tlcore.data.unpacking import archive_entries, free_bytes, plan, unpack
from tlcore.runs.collection import compare_runs, list_runs
from tlcore.runs.label_files import read_labels
from tlcore.runs.overview import overview
from tlcore.runs.publications import note_publication, publications
from tlcore.runs.recipes import RECIPES
from tlcore.runs.run import Run, read_run, start_run
from tlcore.splitting.tensors import Tensor

from . import mutations
from .mutations import NASTY, damaged, document, odd, text, word

STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
REFUSALS = (ValueError, OSError)


def refused(action, *arguments, **options):
    """Call something; return the sentence that it refuses with, or None."""
    try:
        action(*arguments, **options)
    except REFUSALS as error:
        said, kind = str(error), type(error).__name__
    else:
        return None
    assert said.strip(), f"{kind} without a sentence"
    return said


def sentence(action, *arguments, **options):
    """Call something that refuses by saying what it received."""
    found = refused(action, *arguments, **options)
    assert found is None or "eceived" in found, found


def commanded(arguments):
    """Run the command `tlcore`; it ends with 0 to 2, and steers no terminal."""
    out, err = io.StringIO(), io.StringIO()
    code = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            tlcore([str(one) for one in arguments])
        except SystemExit as ending:
            code = ending.code
    said = out.getvalue() + err.getvalue()
    assert code in {0, 1, 2}, (code, said[-2_000:])
    assert STEERING.search(said) is None, said[-2_000:]


def benched(arguments):
    """Run the command `tlbench`, likewise."""
    done = CliRunner().invoke(tlbench, [str(one) for one in arguments])
    ended = done.exception is None or isinstance(done.exception, SystemExit)
    if not ended:
        raise done.exception
    assert done.exit_code in {0, 1, 2}, done.output[-2_000:]
    assert STEERING.search(done.output) is None, done.output[-2_000:]


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


# Documents of runs

_ESTIMATE = {"value": 0.9, "low": 0.8, "high": 1.0, "n": 40, "split": "test"}
_COUNTS = {"total_params": 9, "trainable_params": 2}
_RUN = {
    "schema": 1,
    "id": "model_3/20260102-030405",
    "status": "done",
    "started": "2026-01-02T03:04:05+00:00",
    "finished": "2026-01-02T03:05:05+00:00",
    "process": {"pid": 1, "host": "a"},
    "recipe": {**RECIPES["model_3"].as_dict(), "backbone": "sample_net"},
    "seed": 42,
    "deterministic": False,
    "early_stopping": 3,
    "selected_epoch": 1,
    "data": {
        "folder": "photos",
        "classes": ["cat", "dog"],
        "validated_on": "test",
        "selected_on": None,
        "trained_on": 20,
        "shared_with_train": {"test": 2},
        "splits": {
            "train": {
                "images": 20,
                "fingerprint": "ab",
                "converted": {"grey": 1},
                "skipped": [["a.jpg", "bad"]],
            }
        },
    },
    "weights": {"source": "random", "fingerprint": "abc"},
    "counts": _COUNTS,
    "phases": [
        {
            "name": "feature_extraction",
            "learning_rate": 0.01,
            "first_epoch": 0,
            "caching": "end to end",
            "counts": _COUNTS,
        },
        {"name": "fine_tuning", "first_epoch": 1, "counts": _COUNTS},
    ],
    "history": {
        "epoch": [0, 1],
        "phase": ["feature_extraction", "fine_tuning"],
        "loss": [2.0, None],
        "seconds": [1.0, 2.0],
    },
    "final": {"val_accuracy": _ESTIMATE, "test_loss": _ESTIMATE},
    "ceiling": _ESTIMATE,
    "versions": {"python": "3.11", "keras": "3.15.1"},
    "machine": {"system": "Linux-6", "devices": ["cpu:0"], "cores": 2},
    "error": "OSError: x",
}


def run_document(folder, chance):
    path = folder / "runs" / "model_3" / "20260102-030405"
    write(path / "run.json", text(_RUN, chance))
    sentence(read_run, path)
    sentence(compare_runs, [path])
    list_runs(folder / "runs")

    def show():
        run = read_run(path)
        for public in (True, False):
            overview(run, public=public)
        _ = run.status

    refused(show)
    refused(lambda: read_run(path).class_names)
    if chance.random() < 0.2:
        command = chance.choice(["list", "show", "compare"])
        name = ["model_3/20260102-030405"] if command == "show" else []
        more = chance.choice([[], ["--json"]])
        commanded(["experiments", command, *name, "--out", folder / "runs", *more])


def run_in_memory(folder, chance):
    """A document that a caller made, and that no file was read from."""
    made = document(_RUN, chance)
    if isinstance(made, dict):
        refused(overview, Run(folder, made), public=True)


def run_page(folder, chance):
    path = folder / "runs" / "model_3" / "20260102-030405"
    write(path / "run.json", text(_RUN, chance))
    where = ["--out", folder / "runs", "--to", folder / "page"]
    commanded(["experiments", "publish", "--one-shot", *where])


def note(folder, chance):
    names = ("id", "name", "description", "folder", "updated")
    whole = {"schema": 1, "publications": [dict.fromkeys(names, "a")] * 2}
    write(folder / "publications.json", text(whole, chance))
    sentence(publications, folder)
    sentence(note_publication, folder, dict.fromkeys(names, "b"))
    published = dict.fromkeys(("id", "name", "description", "created"), "a")
    write(folder / "page" / "published.json", text({"schema": 1, **published}, chance))
    now = datetime(2026, 1, 2, tzinfo=UTC)
    if not (folder / "out").exists():
        recipe = {"recipe": {"name": "a", "backbone": "b"}}
        start_run(folder / "out", "a", recipe, now=now).finish("done")
    commanded(
        ["experiments", "publish", "--out", folder / "out", "--to", folder / "page"]
    )


# Entries of the cache


@cache
def _entry():
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureCache(folder)
        key = Key("ab" * 32, tuple(f"{number:064x}" for number in range(40)))
        tensors = [Tensor("conv", (3, 2), "float16"), Tensor("pool", (), "float32")]
        about = {"cut": "conv", "images": 40}
        with store.locked(key), store.building(key, tensors, about) as builder:
            for block, rows in enumerate((32, 8)):
                arrays = [
                    np.ones((rows, 3, 2), "float16"),
                    np.ones(rows, "float32"),
                ]
                builder.write(block, arrays)
        return store._path(key).read_bytes(), key


def cache_entry(folder, chance):
    import xxhash

    data, key = _entry()
    if chance.random() < 0.7:
        size = entry._TAIL.size
        _, length, magic = entry._TAIL.unpack(data[-size:])
        start = len(data) - size - length
        about = text(json.loads(data[start:-size]), chance)
        tail = entry._TAIL.pack(xxhash.xxh3_128_digest(about), len(about), magic)
        data = data[:start] + about + tail
    else:
        data = damaged(data, chance)
    store = FeatureCache(folder)
    write(store._path(key), data)

    def read():
        features = read_features(store._path(key))
        features.take(np.arange(len(features)))

    sentence(read)
    sentence(store.find, key)
    store.entries()
    store.related(Key(key.prefix, key.images[:1]))
    if chance.random() < 0.1:
        more = chance.choice([[], ["--json"]])
        commanded(["cache", "show", "--folder", folder, *more])


# Documents of tlbench


@cache
def _results():
    """Return the files of a folder of results, by name."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        selftest.accept_runs(folder)
        last = selftest.slower(
            selftest.Run(
                records=selftest.records_of(20), identity=selftest.IDENTITY, now=None
            )
        )
        from tlbench import baseline
        from tlbench.storage.baselines import read_accepted
        from tlbench.storage.last_run import LastRun, last_run_path, write_run
        from tlbench.storage.machines import write_machine
        from tlbench.verdicts import verdict
        from tlbench.verdicts.judge import judge

        here = baseline.Machine.of(selftest.IDENTITY)
        write_machine(folder, here.name, selftest.IDENTITY)
        accepted = baseline.gather(folder, here, read_accepted(folder))
        cases = judge(dict(last.records), accepted)
        run = LastRun(
            when="2026-02-01T02:00:00+00:00",
            versions={"python": "3.12"},
            cases=dict(last.records),
            run="newest",
            machine=here.name,
            frameworks=here.versions,
            verdicts={case.case: verdict.to_json(case) for case in cases},
        )
        write_run(last_run_path(folder), run)
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }


def _changed_result(name, data, chance):
    if not name.endswith(".jsonl"):
        changed = document(json.loads(data), chance)
        if name.endswith("accepted.json") and chance.random() < 0.9:
            with contextlib.suppress(Exception):  # of another form: as it is
                bare = {
                    case: {k: v for k, v in entry.items() if k != "digest"}
                    for case, entry in changed["cases"].items()
                }
                changed["cases"] = tlbench_documents.with_digests(bare)
        made = json.dumps(changed).encode()
        return damaged(made, chance) if chance.random() < 0.1 else made
    found = data.splitlines()[-60:]
    for _ in range(chance.choice([1, 2, 5])):
        at = chance.randrange(len(found))
        try:
            changed = document(lines.decoded(found[at]), chance)
        except ValueError:  # damaged before
            continue
        if isinstance(changed, dict):
            changed.pop("crc", None)
            with contextlib.suppress(ValueError):  # no JSON: NaN
                found[at] = lines.encoded(changed).rstrip(b"\n")
        if chance.random() < 0.1:
            found[at] = damaged(found[at], chance).replace(b"\n", b"")
    return b"\n".join(found) + b"\n"


def results(folder, chance):
    whole = _results()
    where = folder / "results"
    names = [name for name in whole if name.endswith((".json", ".jsonl"))]
    odd_one = chance.choice(names)
    for name, data in whole.items():
        changed = _changed_result(name, data, chance) if name == odd_one else data
        write(where / name, changed)
    for words in chance.sample(
        (
            *(["status"], ["status", "--json"], ["compare"], ["compare", "--json"]),
            *(["report", "--out", str(folder / "page")], ["machine"]),
            *(["accept", "--reason", "a"], ["prune", "--keep-days", "30"]),
        ),
        2,
    ):
        benched([*words, "--results", where])


def imported(folder, chance):
    whole = {
        "machine_info": {
            "system": "Linux",
            "machine": "x86_64",
            "processor": "",
            "python_version": "3.12.1",
            "cpu": {"brand_raw": "Xeon", "count": 2},
        },
        "commit_info": {"id": "abc"},
        "datetime": "2026-01-02T03:04:05+00:00",
        "benchmarks": [
            {
                "fullname": "a.py::t",
                "stats": {"data": [1.0, 2.0], "median": 1.5, "iterations": 1},
                "options": {"timer": "perf_counter"},
            }
        ],
    }
    path = write(folder / "file.json", text(whole, chance))
    results = folder / "results"
    benched(["import", path, "--results", results])
    if results.is_dir():
        benched(["status", "--results", results])


# Images, labels, archives

_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "TGA")


@cache
def _pictures():
    found = []
    noise = np.random.default_rng(1).integers(0, 255, (12, 10, 4), "uint8")
    for kind in _FORMATS:
        for mode in ("RGB", "L", "P", "RGBA"):
            file = io.BytesIO()
            with contextlib.suppress(OSError, KeyError, ValueError):
                Image.fromarray(noise).convert(mode).save(file, kind)
                found.append((kind.lower(), file.getvalue()))
    return found


def image(folder, chance):
    kind, data = chance.choice(_pictures())
    suffix = chance.choice([kind, kind, "png", "jpg", "gif", "tif", "webp"])
    data = damaged(data, chance)
    path = write(folder / f"{chance.randrange(9)}.{suffix}", data)
    (checked,) = images.check_images([str(path)])
    options = {"fit": chance.choice(FITS), "orientation": chance.choice(ORIENTATIONS)}
    found = refused(images.read_image, path, (8, 8), **options)
    assert found is None or checked.reason, found


def image_folder(folder, chance):
    for split in chance.sample(["train", "Test", "a", "b", "validation", NASTY], 3):
        for label in chance.sample(["cat", "dog", "0", NASTY, " ", ".hidden"], 2):
            for number in range(chance.choice([0, 1, 3])):
                kind, data = chance.choice(_pictures())
                data = damaged(data, chance) if chance.random() < 0.2 else data
                write(folder / split / label / f"{number}.{kind}", data)
    options = {"image_size": 8, "batch_size": 2}
    options["skip_bad"] = chance.random() < 0.5
    if chance.random() < 0.5:
        options["label_mode"] = chance.choice(["int", "binary", "multi", "x", None])
    place = folder / chance.choice(["", "train", "a"])
    refused(tl.image_folder, place, **options)
    options.setdefault("label_mode", "int")
    split = chance.choice([None, "80/20", "60/20/20", "validation=50", odd(chance)])
    refused(tl.load_splits, place, split=split, **options)
    refused(lambda: str(tl.check_data(place)))


def image_table(folder, chance):
    names = [f"{number}.png" for number in range(4)]
    for name in names:
        Image.new("RGB", (8, 8), (ord(name[0]), 0, 0)).save(folder / name)
    labels = chance.choice([["cat", "dog"], ["a|b", "", "b"], ["0", "1"], [NASTY, "x"]])
    comma = chance.choice(",,;\t|")
    rows = [("path", "label"), *((name, chance.choice(labels)) for name in names)]
    if chance.random() < 0.3:
        splits = ["split", "train", "test", "train", chance.choice(["test", NASTY])]
        rows = [(*row, split) for row, split in zip(rows, splits, strict=True)]
    whole = "\n".join(comma.join(row) for row in rows)
    whole = whole.encode(chance.choice(["utf-8", "utf-8-sig", "utf-16"]))
    data = damaged(whole, chance) if chance.random() < 0.8 else whole
    path = write(folder / "labels.csv", data)
    mode = chance.choice(["int", "categorical", "multi", "binary"])
    options = {"image_size": 8, "batch_size": 2, "label_mode": mode}
    refused(tl.image_table, path, **options)
    refused(tl.load_splits, path, split=chance.choice([None, "50/50"]), **options)
    refused(lambda: str(tl.check_data(path, multi=mode == "multi")))


def label_file(folder, chance):
    folders = chance.choice([["cat", "dog"], ["0", "1", "10", "2"], ["a", NASTY]])
    lines = ["cat", "dog", NASTY, "0", "", "a,b", "\ufeffx", "cat = a", "dog = b"]
    whole = "\n".join(chance.sample(lines, chance.randrange(len(lines))))
    name = f"labels.{chance.choice(['txt', 'csv', 'json'])}"
    if name.endswith("json"):
        whole = json.dumps(chance.choice([lines[:2], {"cat": "a", "dog": "b"}, 3]))
    path = write(folder / name, damaged(whole.encode(), chance))
    refused(read_labels, path, folders)


@cache
def _archives():
    found = []
    names = {"top/train/a/1.png": b"x" * 900, "top/b.txt": b"", "top/c/d.txt": b"c" * 9}
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", compression) as archive:
            for name, data in names.items():
                archive.writestr(name, data)
        found.append((".zip", file.getvalue()))
    for mode, suffix in (("w", ".tar"), ("w:gz", ".tar.gz")):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode=mode) as archive:
            for name, data in names.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        found.append((suffix, file.getvalue()))
    return found


def archive(folder, chance):
    suffix, data = chance.choice(_archives())
    path = write(folder / f"some{suffix}", damaged(data, chance))

    def read():
        with archive_entries(path, "some") as entries:
            contents = plan(entries, free_bytes(folder), "some")
            unpack(contents, folder / "to", title="some", progress=False)

    sentence(read)


# Models


@cache
def _network():
    import keras

    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((4, 4, 3)),
            layers.Rescaling(0.5),
            layers.Conv2D(2, 2, name="conv"),
            layers.BatchNormalization(),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.1),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    model.train_on_batch(np.ones((2, 4, 4, 3)), np.eye(2))
    return model


@cache
def _keras_file():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        _network().save(path)
        _network().save_weights(Path(folder) / "a.weights.h5")
        weights = (Path(folder) / "a.weights.h5").read_bytes()
        with zipfile.ZipFile(path) as archive:
            return (
                path.read_bytes(),
                {name: archive.read(name) for name in archive.namelist()},
                weights,
            )


_MOST_UNITS = 10_000


def _is_modest(value):
    """Tell whether a configuration asks for no more memory than a test may take."""
    numbers = [
        x
        for path in mutations.places(value)
        for x in [_at(value, path)]
        if isinstance(x, int | float)
    ]
    return all(not _MOST_UNITS < abs(x) < float("inf") for x in numbers)


def _at(value, path):
    for key in path:
        value = value[key]
    return value


def keras_file(folder, chance):
    data, parts, _ = _keras_file()
    path = folder / "model.keras"
    how = chance.random()
    if how < 0.3:
        write(path, damaged(data, chance))
    else:
        parts = dict(parts)
        if how < 0.7:
            config = document(json.loads(parts["config.json"]), chance)
            if not _is_modest(config):
                return
            parts["config.json"] = json.dumps(config).encode()
        else:
            name = chance.choice(list(parts))
            parts[name] = damaged(parts[name], chance)
        with zipfile.ZipFile(path, "w") as archive:
            for name, part in parts.items():
                if chance.random() > 0.02:
                    archive.writestr(name, part)
    sentence(tl.load_model, path)


def weights_file(folder, chance):
    from tlcore.backbones.weights import damaged_weights, load_weights

    path = write(folder / "a.weights.h5", damaged(_keras_file()[2], chance))
    sentence(load_weights, _network(), path)
    damaged_weights(folder)


@cache
def _saved_model():
    import keras

    with tempfile.TemporaryDirectory() as folder:
        network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        network.export(folder, verbose=False)
        return (Path(folder) / "saved_model.pb").read_bytes()


def saved_model(folder, chance):
    from tlcore.hub.operations import touching_operations

    write(folder / "saved_model.pb", damaged(_saved_model(), chance))
    sentence(touching_operations, folder)


# Arguments


def arguments(folder, chance):
    value, more = odd(chance), odd(chance)
    network = "sample_net"
    shape = chance.choice([(32, 32, 3), value, [value] * 3, (32, more, 3)])
    small = {"weights": None, "input_shape": (32, 32, 3)}
    made = chance.choice(
        [
            lambda: tl.load_backbone(value),
            lambda: tl.load_backbone(network, weights=more),
            lambda: tl.create_model(value, 3, **small),
            lambda: tl.create_model(network, value, **small),
            lambda: tl.create_model(network, 3, **small, augmentation=value),
            lambda: tl.create_model(network, 3, **small, head=value, dropout=more),
            lambda: tl.create_model(network, 3, **small, dropout=value, style=more),
            lambda: tl.image_folder(value),
            lambda: tl.image_folder(folder, image_size=value, batch_size=more),
            lambda: tl.image_folder(folder, percent=value, seed=more),
            lambda: tl.image_folder(folder, label_mode=value),
            lambda: tl.image_folder(folder, fit=value, background=more),
            lambda: tl.image_folder(folder, orientation=value, background=more),
            lambda: tl.image_table(value, root=more),
            lambda: tl.image_table([(value, more)], root=folder),
            lambda: tl.image_table({"a.png": value}, path_column=more, root=folder),
            lambda: tl.image_arrays(value, more),
            lambda: tl.image_arrays(np.zeros((2, 8, 8, 3)), value, more),
            lambda: tl.check_data(value, root=more),
            lambda: tl.load_splits(
                folder,
                split=value,
                root=more,
                image_size=8,
                batch_size=2,
                label_mode="int",
            ),
            lambda: tl.fetch(value, folder),
            lambda: tl.fetch("http://127.0.0.1:9/a.zip", folder, sha256=value),
            lambda: tl.fetch("http://127.0.0.1:9/a.zip", folder, timeout=value),
            lambda: tl.fetch("http://127.0.0.1:9/a.zip", folder, max_bytes=value),
            lambda: tl.write_sample_images(folder / "s", classes=value, per_class=1),
            lambda: tl.write_sample_images(folder / "s", size=value, per_class=1),
            lambda: tl.load_model(value),
            lambda: tl.HubLayer(value),
            lambda: tl.tensorboard_callback(folder, value),
            lambda: tl.early_stopping_callback(patience=value, mode=more),
            lambda: tl.RECIPES["model_3"].changed(
                **{chance.choice(["epochs", "percent", "backbone", "last"]): value}
            ),
            lambda: split_address(value),
            lambda: archives.Archive(value, more, None, folder="a", title="a"),
            lambda: tl.freeze(value),
            lambda: tl.unfreeze(_network(), last=value, batch_norm=more),
            lambda: tl.trainable_summary(value),
            lambda: tl.frozen_fingerprint(value),
            lambda: tl.load_splits(value, image_size=8, batch_size=2, label_mode=more),
            lambda: tl.checkpoint_callback(value, monitor=more),
            lambda: tl.compare_histories({"a": value, "b": more}, path=folder / "a"),
            lambda: tl.evaluate(_network(), value),
            lambda: tl.fit(_network(), value, epochs=1),
            lambda: tl.fit(_network(), more, epochs=value),
            lambda: tl.feature_extract(_network(), value, epochs=more),
            lambda: tl.plot_history(value, path=folder / "a.png"),
            lambda: tl.plot_images(value, path=folder / "a.png"),
            lambda: tl.load_backbone(network, weights=None, input_shape=shape),
        ]
    )
    if isinstance(value, int) and isinstance(more, int) and max(value, more) > 10**6:
        return  # as much as is asked for
    refused(made)


_COMMANDS = (
    ("backbones",),
    ("recipes",),
    ("compare",),
    ("predict",),
    ("predict", "--run"),
    ("cache", "show"),
    ("cache", "show", "--folder"),
    ("experiments", "list"),
    ("experiments", "list", "--out"),
    ("experiments", "show"),
    ("experiments", "compare"),
    ("experiments", "delete"),
    ("experiments", "publish", "--one-shot"),
    ("fetch",),
    ("fetch", "http://127.0.0.1:9/a.zip", "to", "--max-bytes"),
    ("fetch", "http://127.0.0.1:9/a.zip", "to", "--sha256"),
    ("run",),
    ("run", "model_3", "--data"),
    *(
        ("run", "model_3", "--data", "none", f"--{name}")
        for name in (
            *("backbone", "handle", "weights", "image-size", "percent", "epochs"),
            *("last", "learning-rate", "batch-size", "early-stopping", "seed"),
            *("cache", "views", "workers", "out"),
            *("split", "root", "fit", "background", "orientation"),
        )
    ),
    ("check-data",),
    ("check-data", "none", "--root"),
    ("check-data", "none", "--page"),
    ("sample-images",),
    ("doctor", "no-such-question"),
)


def command_line(folder, chance):
    words = [*chance.choice(_COMMANDS), *(word(chance) for _ in range(2))]
    words = words[: len(words) - chance.randrange(2)]
    before = Path.cwd()
    os.chdir(folder)
    try:
        commanded(words)
    finally:
        os.chdir(before)


_BENCH_COMMANDS = (
    *(("status",), ("compare",), ("machine",), ("report",), ("accept",)),
    *(("accept", "--reason"), ("accept", "--reason", "a", "--last"), ("import",)),
    *(("prune", "--keep-days"), ("accept", "--reason", "a", "--alias"), ("sync",)),
    *(("status", "--results"), ("ab", "--budget"), ("selftest", "x")),
)


def bench_command_line(folder, chance):
    words = [*chance.choice(_BENCH_COMMANDS), *(word(chance) for _ in range(2))]
    words = words[: len(words) - chance.randrange(2)]
    before = Path.cwd()
    os.chdir(folder)
    try:
        benched(words)
    finally:
        os.chdir(before)


TARGETS = {
    run_document: 4_000,
    run_in_memory: 1_500,
    run_page: 500,
    note: 600,
    cache_entry: 2_500,
    results: 2_500,
    imported: 900,
    image: 2_500,
    image_folder: 500,
    image_table: 700,
    label_file: 600,
    archive: 600,
    keras_file: 900,
    weights_file: 900,
    saved_model: 400,
    arguments: 700,
    command_line: 600,
    bench_command_line: 600,
}
"""What is tried, and how often by `tox -e fuzz`: 21,500 times in all."""

BY_NAME = {target.__name__: target for target in TARGETS}


def attempt(name, number, folder):
    """Try one input of a target in an empty folder."""
    chance = random.Random(f"{name} {number}")
    place = Path(folder) / f"{number}"
    place.mkdir()
    try:
        BY_NAME[name](place, chance)
    finally:
        shutil.rmtree(place, ignore_errors=True)
