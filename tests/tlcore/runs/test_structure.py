"""Structure: a run.json of other types is refused where it is read, by field."""

import json
import re

import pytest

from tlcore.runs.collection import compare_runs, list_runs
from tlcore.runs.run import read_run
from tlcore.runs.structure import check_structure

ESTIMATE = {"value": 0.9, "low": 0.8, "high": 1.0, "n": 40}
WHOLE = {
    "schema": 1,
    "status": "done",
    "started": "2026-01-02T03:04:05+00:00",
    "process": {"pid": 1, "host": "a"},
    "recipe": {"name": "model_3", "backbone": "sample_net", "dropout": 0.0},
    "data": {"classes": ["cat", "dog"], "splits": {"train": {"images": 3}}},
    "phases": [{"first_epoch": 0, "counts": {"total_params": 9}}],
    "history": {"epoch": [0], "phase": ["fine_tuning"], "loss": [None]},
    "final": {"val_accuracy": ESTIMATE},
    "of_a_later_version": [object],
}


def test_what_a_run_writes_is_taken():
    check_structure(WHOLE)
    check_structure({})


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"status": ["done"]}, "status must be text"),
        ({"started": "yesterday"}, "started must be a moment"),
        ({"process": {"pid": 2**40, "host": "a"}}, "process.pid must be a whole"),
        ({"process": {"pid": 0, "host": "a"}}, "process.pid must be a whole"),
        ({"process": {"pid": 1}}, "process must be an object with 'host'"),
        ({"recipe": {"name": 3}}, "recipe.name must be text"),
        ({"recipe": {"name": "a", "dropout": {}}}, "recipe.dropout must be"),
        ({"data": {"classes": "cat"}}, "data.classes must be a list"),
        ({"data": {"classes": ["cat", 3]}}, "data.classes[1] must be text"),
        ({"data": {"splits": {"train": {"images": "3"}}}}, "data.splits.train.images"),
        ({"phases": {}}, "phases must be a list"),
        (
            {"phases": [{"counts": {}}]},
            "phases[0] must be an object with 'first_epoch'",
        ),
        ({"history": {"epoch": [0.5]}}, "history.epoch[0] must be a whole number"),
        ({"history": {"loss": ["low"]}}, "history.loss[0] must be a finite number"),
        ({"history": {"epoch": [0], "loss": []}}, "history must be columns of equal"),
        ({"final": {"loss": {**ESTIMATE, "n": -1}}}, "final.loss.n must be a whole"),
        ({"final": {"loss": {"value": 1}}}, "final.loss must be an object with 'low'"),
        ({"ceiling": 0.9}, "ceiling must be an object"),
        ({"machine": {"devices": "cpu"}}, "machine.devices must be a list"),
        ({"versions": {"keras": {"a": 1}}}, "versions.keras must be"),
    ],
)
def test_another_type_is_refused_by_its_field(more, field):
    with pytest.raises(ValueError, match=f"^{re.escape(field)}.* Received: "):
        check_structure({**WHOLE, **more})


def test_reading_names_the_file_the_field_and_the_remedy(ended, tmp_path):
    path = ended(tmp_path)
    document = json.loads((path / "run.json").read_text())
    document["final"] = {"val_loss": {**ESTIMATE, "n": "many"}}
    (path / "run.json").write_text(json.dumps(document))
    sentence = (
        r"run\.json must be whole.*run\.json', which cannot be read \(ValueError: "
        r"final\.val_loss\.n must be a whole number. Received: 'many'\). Delete"
    )
    for read in (read_run, lambda p: compare_runs([p])):
        with pytest.raises(ValueError, match=sentence):
            read(path)
    (row,) = list_runs(tmp_path)
    assert (row["status"], "many" in row["reason"]) == ("damaged", True)


@pytest.mark.parametrize("text", ['{"schema": 1, "seed": NaN}', '{"schema": 1e400}'])
def test_what_is_no_json_is_refused_although_python_reads_it(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ValueError, match=r"run\.json must be whole"):
        read_run(tmp_path)
