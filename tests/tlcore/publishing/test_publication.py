"""Publication: the folder of a page, its log directory, and following runs."""

import json
import shutil
import subprocess
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tlcore.cli.tensorboard import local_board
from tlcore.publishing import publication
from tlcore.publishing.publication import prepare
from tlcore.runs.collection import list_runs
from tlcore.runs.publications import publications
from tlcore.runs.run import read_run

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def now():
    return MOMENT


class TestPublishing:
    def test_the_folder_says_what_it_is(self, write, paths, tmp_path):
        page = write(paths, tmp_path / "p", name=" A name ", description="why")
        assert page == tmp_path / "p" / "index.html"
        document = json.loads((tmp_path / "p" / "published.json").read_text())
        assert document.pop("id")
        assert document == {
            "schema": 1,
            "name": "A name",
            "description": "why",
            "created": "2026-01-02T03:04:05+00:00",
            "updated": "2026-01-02T03:04:05+00:00",
            "runs": [read_run(path).name for path in paths],
        }

    def test_the_runs_list_it(self, write, paths, tmp_path):
        write(paths, tmp_path / "p", name="A name", description="why")
        note = publications(paths[0])[-1]
        assert (note["name"], note["description"]) == ("A name", "why")
        assert note["folder"] == str(tmp_path / "p")
        names = {n["name"] for n in list_runs(paths[0].parents[1])[0]["publications"]}
        assert "A name" in names

    def test_published_again_it_keeps_its_id_with_other_runs(
        self, write, paths, tmp_path
    ):
        to = tmp_path / "p"
        write(paths, to, name="First", description="why")
        first = json.loads((to / "published.json").read_text())
        later = {"now": lambda: MOMENT + timedelta(days=1)}
        write(paths[1:], to, name="Second", **later)
        second = json.loads((to / "published.json").read_text())
        assert (second["id"], second["created"]) == (first["id"], first["created"])
        assert (second["name"], second["description"]) == ("Second", "why")
        assert second["updated"] > first["updated"]
        assert "model_0/" not in (to / "index.html").read_text("utf-8")
        folders = {p.parent.parent.name for p in to.glob("tensorboard/*/*/*")}
        assert folders == {"model_2", "model_3"}
        write(paths[1:], to)
        assert json.loads((to / "published.json").read_text())["name"] == "Second"

    def test_the_folder_is_named_after_the_publication(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for name, folder in (
            (None, "experiments"),
            ("Food: 10 %, three ways!", "food-10-three-ways"),
            ("料理 ../../x", "料理-x"),
        ):
            made = prepare(None, name=name, description=None, now=now)
            assert made.folder == Path("published") / folder
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("name", ["", "  ", "..", "///", "!?"])
    def test_a_name_without_letter_or_digit_is_refused(self, name):
        with pytest.raises(ValueError, match=r"a letter or a digit\. Received: name="):
            prepare(None, name=name, description=None, now=now)

    def test_a_folder_of_something_else_is_refused(self, tmp_path):
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "index.html").write_text("precious")
        (tmp_path / "file").touch()
        for to in (tmp_path / "site", tmp_path / "file"):
            with pytest.raises(
                ValueError, match=r"a folder of its own\. Received: to=.*--to"
            ):
                prepare(to, name=None, description=None, now=now)

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "x"}', "[" * 100_000])
    def test_a_damaged_publication_is_refused(self, tmp_path, text):
        (tmp_path / "published.json").write_text(text)
        with pytest.raises(ValueError, match=r"must be whole\. Received: .*--to"):
            prepare(tmp_path, name=None, description=None, now=now)

    def test_one_of_a_newer_version_is_refused(self, write, paths, tmp_path):
        write(paths, tmp_path / "p")
        file = tmp_path / "p" / "published.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "schema": 2}))
        with pytest.raises(ValueError, match=r"up to schema 1\. Received: schema=2"):
            prepare(tmp_path / "p", name=None, description=None, now=now)

    def test_two_runs_of_one_name_are_refused_and_one_twice_is_one(
        self, write, paths, tmp_path
    ):
        copy = tmp_path / "runs" / "model_0" / paths[0].name
        shutil.copytree(paths[0], copy)
        with pytest.raises(
            ValueError, match=r"different names\. Received: model_0/.*separately"
        ):
            write([paths[0], copy], tmp_path / "p")
        page = write([paths[0], paths[0] / "."], tmp_path / "p")
        assert (
            len(json.loads((page.parent / "published.json").read_text())["runs"]) == 1
        )

    def test_a_damaged_run_is_refused_before_anything_is_written(
        self, begin, write, paths, tmp_path
    ):
        for document in (
            {"history": {"epoch": [0], "loss": ["a"], "seconds": [1]}},
            {"process": 1, "status": "running"},
        ):
            run = begin(tmp_path / "runs")
            run.update(**document)
            with pytest.raises(
                ValueError, match=r"run\.json must be whole\. Received: .*Delete"
            ):
                write([run.path], tmp_path / "p")
            assert not (tmp_path / "p").exists()

    def test_a_run_folder_that_cannot_be_written_to_gives_a_warning(
        self, write, paths, tmp_path, monkeypatch
    ):
        def refuse(*_):
            raise PermissionError(13, "Permission denied")

        said = []
        monkeypatch.setattr(publication, "note_publication", refuse)
        assert write(paths, tmp_path / "p", say=said.append).exists()
        assert len(said) == 3
        assert said[0].startswith("warning: model_0/")
        assert "Permission denied" in said[0]


class TestFollowing:
    """Without --one-shot the page follows its runs."""

    @pytest.fixture
    def follow(self, write):
        """Return a function that publishes a run, with a step at each wait."""

        def publish_and_wait(run, to, steps):
            said, slept = [], []

            def sleep(seconds):
                slept.append(seconds)
                steps.pop(0)()

            page = write([run.path], to, one_shot=False, sleep=sleep, say=said.append)
            return page, said, slept

        return publish_and_wait

    def test_it_is_written_again_until_the_run_has_ended(
        self, begin, train, end, follow, tmp_path
    ):
        run, to, seen = begin(tmp_path / "runs"), tmp_path / "p", []

        def look():
            text = (to / "index.html").read_text("utf-8")
            seen.append((text.count("epoch 3: "), 'http-equiv="refresh"' in text))

        steps = [
            lambda: (look(), train(run, 2)),
            lambda: (look(), train(run, 3)),
            lambda: (look(), end(run)),
        ]
        page, said, slept = follow(run, to, steps)
        look()
        assert [live for _, live in seen] == [True, True, True, False]
        assert [bool(third) for third, _ in seen] == [False, False, True, True]
        assert slept == [publication.POLL_SECONDS] * 3
        assert said == [f"waiting for {run.name}; Ctrl-C ends the updates"]
        assert "0.9500" in page.read_text("utf-8")
        (events,) = to.glob("tensorboard/*/*/*")
        assert events.name.endswith(".00000018.tlcore")

    def test_nothing_is_written_while_nothing_changes(
        self, begin, end, follow, tmp_path
    ):
        run, to = begin(tmp_path / "runs"), tmp_path / "p"
        stamps = []

        def look():
            stamps.append((to / "index.html").stat().st_ino)

        follow(run, to, [look, look, lambda: end(run)])
        assert stamps[0] == stamps[1] != (to / "index.html").stat().st_ino

    def test_one_shot_waits_for_no_run(self, begin, write, tmp_path):
        run = begin(tmp_path / "runs")
        text = write([run.path], tmp_path / "p").read_text("utf-8")
        assert 'http-equiv="refresh"' not in text
        assert "1 still training" in text

    def test_a_run_whose_process_is_gone_has_ended(self, begin, follow, tmp_path):
        run = begin(tmp_path / "runs")

        def kill():
            with subprocess.Popen(["true"]) as process:
                pass
            run.update(process={**run.document["process"], "pid": process.pid})

        page, _, slept = follow(run, tmp_path / "p", [kill])
        assert len(slept) == 1
        assert 'class="badge killed"' in page.read_text("utf-8")

    def test_a_run_that_is_removed_stays_on_the_page(
        self, begin, train, follow, tmp_path
    ):
        run = begin(tmp_path / "runs")
        train(run, 2)
        steps = [lambda: shutil.rmtree(run.path)]
        page, said, _ = follow(run, tmp_path / "p", steps)
        assert said[1] == f"{run.name} was removed; the page keeps what was known of it"
        text = page.read_text("utf-8")
        assert 'class="badge removed"' in text
        assert "epoch 2: " in text

    def test_a_run_that_is_damaged_stays_on_the_page(
        self, begin, train, follow, tmp_path
    ):
        run = begin(tmp_path / "runs")
        train(run, 2)
        steps = [lambda: (run.path / "run.json").write_text("{")]
        page, said, _ = follow(run, tmp_path / "p", steps)
        assert said[1] == f"{run.name} was damaged; the page keeps what was known of it"
        text = page.read_text("utf-8")
        assert 'class="badge damaged"' in text
        assert "epoch 2: " in text

    @pytest.mark.parametrize("how", [KeyboardInterrupt, SystemExit])
    def test_ctrl_c_leaves_a_whole_page_of_all_that_is_known(
        self, begin, train, follow, tags_of, tmp_path, how
    ):
        run, to = begin(tmp_path / "runs"), tmp_path / "p"

        def interrupt():
            train(run, 3)
            raise how

        with pytest.raises(how):
            follow(run, to, [interrupt])
        text = (to / "index.html").read_text("utf-8")
        assert tags_of(text).open == []
        assert "epoch 3: " in text
        assert 'http-equiv="refresh"' not in text
        assert publications(run.path)


# In TensorBoard


def fetched(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


def until(read, expected, seconds=60):
    end = time.monotonic() + seconds
    while (found := read()) != expected:
        assert time.monotonic() < end, found
        time.sleep(0.1)


@pytest.mark.matrix
def test_tensorboard_lists_three_published_runs_and_draws_them(
    end, colours, browser, page, paths
):
    names = sorted(read_run(path).name for path in paths)
    with local_board(page.parent / "tensorboard") as address:
        until(lambda: sorted(fetched(f"{address}data/runs")), names)
        tag = f"tag=accuracy/validation&run={names[2]}"
        points = fetched(f"{address}data/plugin/scalars/scalars?{tag}")
        assert [step for _, step, _ in points] == list(range(1, 9))
        groups = fetched(
            f"{address}experiment/x/data/plugin/hparams/session_groups",
            {
                "experimentName": "",
                "allowedStatuses": ["STATUS_SUCCESS"],
                "colParams": [],
                "startIndex": 0,
                "sliceSize": 10,
            },
        )["sessionGroups"]
        assert sorted(group["name"] for group in groups) == names
        for group in groups:
            assert group["hparams"]["backbone"] == "sample_net"
            metrics = {m["name"]["tag"]: m["value"] for m in group["metricValues"]}
            assert 0.7 < metrics["final/val_accuracy"] <= 0.95

        browser.open(f"{address}#timeseries")
        browser.until("document.querySelectorAll('line-chart canvas').length >= 2")
        text = f"({browser.DEEP_TEXT})"
        for name in names:
            browser.until(f"{text}.includes({json.dumps(name)})")
        end = time.monotonic() + 30
        while len(colours(browser.picture("line-chart"))) < 2:
            assert time.monotonic() < end, "no curve is drawn"
        browser.open(f"{address}#hparams")
        for word in (*names, "fine_tune_epochs", "final/val_accuracy"):
            browser.until(f"{text}.includes({json.dumps(word)})")
    asked = {url for url in browser.asked if not url.startswith(("data:", "blob:"))}
    assert any("/data/runs" in url for url in asked)
    assert {url for url in asked if not url.startswith((address, "about:"))} == set()


@pytest.mark.slow
def test_a_running_tensorboard_shows_what_is_published_again(
    begin, train, write, tmp_path
):
    run, to = begin(tmp_path / "runs"), tmp_path / "p"
    train(run, 2)
    write([run.path], to)
    with local_board(to / "tensorboard") as address:
        scalars = f"{address}data/plugin/scalars/scalars?tag=loss/train&run={run.name}"
        until(lambda: fetched(f"{address}data/runs"), [run.name])
        assert [step for _, step, _ in fetched(scalars)] == [1, 2]
        train(run, 4)
        write([run.path], to)
        until(lambda: [step for _, step, _ in fetched(scalars)], [1, 2, 3, 4])
