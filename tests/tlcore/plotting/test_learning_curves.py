"""What is drawn of runs: curves, names and places, never pixels."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from tlcore.plotting.figures import GREY, PALETTE
from tlcore.plotting.learning_curves import START, compare_histories, plot_history

HEAD = {
    "epoch": [0, 1, 2],
    "loss": [3.0, 2.0, 1.5],
    "accuracy": [0.3, 0.5, 0.6],
    "val_loss": [3.1, 2.2, 1.7],
    "val_accuracy": [0.25, 0.45, 0.55],
}


TUNED = {
    "epoch": [3, 4],
    "loss": [1.0, 0.8],
    "accuracy": [0.7, 0.8],
    "val_loss": [1.3, 1.2],
    "val_accuracy": [0.65, 0.7],
}


def curves(axes):
    """Return {label: (x, y)} of the curves, without the marks of phases."""
    return {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata()))
        for line in axes.get_lines()
        if line.get_gid() != START
    }


def starts(axes):
    """Return where dashed vertical lines stand."""
    found = []
    for line in axes.get_lines():
        if line.get_gid() == START:
            assert line.get_linestyle() == "--"
            left, right = line.get_xdata()
            assert left == right
            found.append(left)
    return found


def named(axes):
    """Return {text above the axes: its place on the x axis}."""
    return {t.get_text(): t.xy[0] for t in axes.texts if hasattr(t, "xy")}


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


# One run


def test_phases_are_joined_and_the_start_of_fine_tuning_is_marked():
    figure = plot_history(HEAD, TUNED, title="model_3")
    loss, accuracy = figure.axes

    assert curves(loss) == {
        "training": ([1, 2, 3, 4, 5], [3.0, 2.0, 1.5, 1.0, 0.8]),
        "validation": ([1, 2, 3, 4, 5], [3.1, 2.2, 1.7, 1.3, 1.2]),
    }
    assert curves(accuracy) == {
        "training": ([1, 2, 3, 4, 5], [0.3, 0.5, 0.6, 0.7, 0.8]),
        "validation": ([1, 2, 3, 4, 5], [0.25, 0.45, 0.55, 0.65, 0.7]),
    }
    for axes, name in zip((loss, accuracy), ("loss", "accuracy"), strict=True):
        assert starts(axes) == [3.5]
        assert named(axes) == {"fine-tuning": 3.5}
        assert axes.get_xlabel() == "epoch"
        assert axes.get_ylabel() == name
    assert legend(figure) == ["training", "validation"]
    assert figure.get_suptitle() == "model_3"


def test_one_phase_has_no_mark():
    figure = plot_history(HEAD)

    assert figure.get_suptitle() == ""
    for axes in figure.axes:
        assert starts(axes) == []
        assert named(axes) == {}


def test_a_mapping_without_epochs_follows_on():
    bare = {name: values for name, values in TUNED.items() if name != "epoch"}

    assert curves(plot_history(HEAD, bare).axes[0]) == curves(
        plot_history(HEAD, TUNED).axes[0]
    )


def test_fine_tuning_alone_keeps_the_numbers_of_its_epochs():
    axes = plot_history(TUNED).axes[0]

    assert curves(axes)["training"] == ([4, 5], [1.0, 0.8])
    assert axes.get_xlim() == (3.5, 5.5)


def test_a_keras_history_is_drawn():
    keras = pytest.importorskip("keras")
    history = keras.callbacks.History()
    history.set_model(SimpleNamespace())
    history.on_train_begin()
    history.on_epoch_end(0, {"loss": 2.0, "binary_accuracy": 0.5})
    history.on_epoch_end(1, {"loss": 1.0, "binary_accuracy": 0.75})

    loss, accuracy = plot_history(history).axes

    assert curves(loss) == {"training": ([1, 2], [2.0, 1.0])}
    assert curves(accuracy) == {"training": ([1, 2], [0.5, 0.75])}
    assert accuracy.get_ylabel() == "binary_accuracy"


@pytest.mark.parametrize(
    ("history", "panels"),
    [
        ({"loss": [2, 1]}, {"loss": {"training"}}),
        ({"val_loss": [2, 1]}, {"loss": {"validation"}}),
        ({"accuracy": [0, 1]}, {"accuracy": {"training"}}),
        ({"acc": [0, 1], "val_acc": [0, 1]}, {"acc": {"training", "validation"}}),
        (
            {"loss": [2, 1], "top_k_categorical_accuracy": [1, 1], "accuracy": [0, 1]},
            {"loss": {"training"}, "accuracy": {"training"}},
        ),
        ({"seconds": [9, 9], "loss": [2, 1]}, {"loss": {"training"}}),
        ({"loss": [2, 1], "f1": [[0, 1], [1, 1]]}, {"loss": {"training"}}),
    ],
)
def test_only_what_was_recorded_has_a_panel(history, panels):
    figure = plot_history(history)

    assert {a.get_ylabel(): set(curves(a)) for a in figure.axes} == panels


def test_values_that_are_no_numbers_are_gaps():
    history = {"loss": [1.0, math.nan, 2.0, math.inf, None, 3.0]}

    line = plot_history(history).axes[0].get_lines()[0]

    np.testing.assert_array_equal(
        line.get_ydata(), [1, math.nan, 2, math.nan, math.nan, 3]
    )


def test_a_history_of_nothing_but_nan_is_drawn(tmp_path):
    history = {"loss": [math.nan] * 3, "accuracy": [math.nan] * 3}

    plot_history(history, path=tmp_path / "nan.png")

    assert (tmp_path / "nan.png").stat().st_size > 0


def test_a_phase_without_validation_leaves_a_gap():
    axes = plot_history(HEAD, {"loss": [1.0, 0.5]}).axes[0]

    assert curves(axes)["training"][1] == [3.0, 2.0, 1.5, 1.0, 0.5]
    np.testing.assert_array_equal(
        curves(axes)["validation"][1], [3.1, 2.2, 1.7, math.nan, math.nan]
    )


@pytest.mark.parametrize(
    ("values", "marked"),
    [
        ([1.0], [0]),
        ([1.0, 2.0], [0, 1]),
        ([1.0] * 50, []),
        ([1.0] * 40 + [math.nan, 1.0, math.nan] + [1.0] * 7, [41]),
        ([1.0, math.nan] + [1.0] * 48, [0]),
    ],
    ids=["one epoch", "two", "many", "a lone value among many", "a lone first value"],
)
def test_a_value_with_no_line_to_it_has_a_marker(values, marked):
    line = plot_history({"loss": values}).axes[0].get_lines()[0]

    assert line.get_marker() == "o"
    assert np.flatnonzero(line.get_markevery()).tolist() == marked


@pytest.mark.parametrize("count", [1, 2, 3, 7, 30, 500])
def test_epochs_are_numbered_in_whole_numbers(count):
    axes = plot_history({"loss": [1.0] * count}).axes[0]

    assert axes.get_xlim() == (0.5, count + 0.5)
    ticks = [t for t in axes.get_xticks() if 0.5 < t < count + 0.5]
    assert ticks
    assert all(tick == int(tick) for tick in ticks)


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([0.0, 1.0], (-0.03, 0), (1, 1.03)),
        ([0.9, 1.0], (0.89, 0.9), (1, 1.03)),
        ([1.0, 1.0], (0.9, 1), (1, 1.03)),
        ([0.5, 0.6], (0.45, 0.5), (0.6, 0.65)),
        ([50.0, 60.0], (45, 50), (60, 65)),
        ([-1.0, 0.5], (-1.1, -1), (0.5, 0.6)),
    ],
    ids=["whole range", "near 1", "all 1", "in between", "percent", "negative"],
)
def test_the_scale_of_an_accuracy_stays_within_its_range(values, low, high):
    bottom, top = plot_history({"accuracy": values}).axes[0].get_ylim()

    assert low[0] <= bottom <= low[1]
    assert high[0] <= top <= high[1]


def test_phases_carry_the_labels_given():
    axes = plot_history(HEAD, TUNED, labels=["head", "all layers"]).axes[0]

    assert named(axes) == {"head": 0.5, "all layers": 3.5}


def test_further_phases_are_numbered():
    axes = plot_history(HEAD, TUNED, {"loss": [0.5]}, {"loss": [0.4]}).axes[0]

    assert starts(axes) == [3.5, 5.5, 6.5]
    assert list(named(axes)) == ["fine-tuning", "fine-tuning 2", "fine-tuning 3"]


def test_names_of_near_phases_do_not_overlap():
    phases = [{"loss": [1.0] * count} for count in (5, 1, 1, 13)]
    figure = plot_history(
        *phases, labels=["extraction", "the head", "a few", "all layers"]
    )
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]

    assert len(boxes) == 4
    for index, box in enumerate(boxes):
        assert all(not box.overlaps(other) for other in boxes[:index])


def test_the_name_of_a_late_phase_stays_over_its_panel():
    figure = plot_history({"loss": [1.0] * 19}, {"loss": [1.0]})
    figure.canvas.draw()

    (text,) = figure.axes[0].texts

    box, panel = text.get_window_extent(), figure.axes[0].bbox
    assert panel.x0 <= box.x0 < box.x1 <= panel.x1


@pytest.mark.parametrize(
    ("histories", "options", "message"),
    [
        ([], {}, "histories must hold at least 1 history"),
        ([HEAD, HEAD], {}, r"Received: histories\[1\] with epoch="),
        (
            [HEAD, TUNED],
            {"labels": ["a"]},
            r"one name per history.*Received: 1 label, 2 histories\. Leave labels out",
        ),
    ],
)
def test_histories_that_cannot_be_drawn_are_refused(histories, options, message):
    with pytest.raises(ValueError, match=message):
        plot_history(*histories, **options)


# Several runs


def test_two_runs_have_a_column_each_on_shared_axes():
    other = {"loss": [9.0], "val_loss": [8.0], "accuracy": [0.1]}
    figure = compare_histories({"10 %": (HEAD, TUNED), "100 %": other}, title="both")
    loss, loss_2, accuracy, accuracy_2 = figure.axes

    assert [loss.get_title(), loss_2.get_title()] == ["10 %", "100 %"]
    assert curves(loss) == curves(plot_history(HEAD, TUNED).axes[0])
    assert curves(accuracy) == curves(plot_history(HEAD, TUNED).axes[1])
    assert curves(loss_2) == {"training": ([1], [9.0]), "validation": ([1], [8.0])}
    assert curves(accuracy_2) == {"training": ([1], [0.1])}
    assert loss.get_ylim() == loss_2.get_ylim()
    assert loss.get_ylim()[1] > 9
    assert accuracy.get_ylim() == accuracy_2.get_ylim() != loss.get_ylim()
    assert {axes.get_xlim() for axes in figure.axes} == {(0.5, 5.5)}
    below = [a.xaxis.get_major_ticks()[0].label1.get_visible() for a in figure.axes]
    assert below == [False, False, True, True]
    assert [starts(axes) for axes in figure.axes] == [[3.5], [], [3.5], []]
    assert named(loss) == {"fine-tuning": 3.5}
    assert named(accuracy) == named(loss_2) == {}
    assert [loss.get_ylabel(), accuracy.get_ylabel()] == ["loss", "accuracy"]
    assert legend(figure) == ["training", "validation"]
    assert figure.get_suptitle() == "both"


def test_columns_share_a_scale_that_keeps_the_range_of_accuracy():
    figure = compare_histories({"a": {"accuracy": [0.5]}, "b": {"accuracy": [1.0]}})

    assert {axes.get_ylim()[1] > 1.03 for axes in figure.axes} == {False}


@pytest.mark.parametrize("other", [-60.0, 60.0])
def test_a_value_beyond_the_range_of_accuracy_is_in_view_in_every_column(other):
    figure = compare_histories({"a": {"accuracy": [0.5]}, "b": {"accuracy": [other]}})

    low, high = figure.axes[0].get_ylim()
    assert low < other < high


def test_a_run_that_lacks_a_metric_says_so():
    figure = compare_histories({"a": HEAD, "b": {"loss": [1.0]}})

    assert curves(figure.axes[3]) == {}
    assert [text.get_text() for text in figure.axes[3].texts] == ["not recorded"]


@pytest.mark.parametrize(
    ("metric", "drawn"),
    [
        ("loss", {"training", "validation"}),
        ("val_loss", {"validation"}),
        ("accuracy", {"training", "validation"}),
    ],
)
def test_one_metric_can_be_asked_for(metric, drawn):
    figure = compare_histories({"a": HEAD, "b": HEAD}, metric=metric)

    assert [axes.get_ylabel() for axes in figure.axes] == [metric, ""]
    assert [set(curves(axes)) for axes in figure.axes] == [drawn, drawn]


def test_any_recorded_metric_can_be_asked_for():
    figure = compare_histories({"a": {"auc": [0.5], "loss": [1.0]}}, metric="auc")

    assert curves(figure.axes[0]) == {"training": ([1], [0.5])}


def test_accuracies_of_two_names_share_a_row():
    runs = {"a": {"accuracy": [0.5]}, "b": {"binary_accuracy": [0.75]}}

    first, second = compare_histories(runs).axes

    assert curves(first)["training"][1] == [0.5]
    assert curves(second)["training"][1] == [0.75]


def test_six_runs_are_overlaid_one_colour_each():
    runs = {f"run {n}": (HEAD, TUNED) if n else HEAD for n in range(6)}
    figure = compare_histories(runs)
    loss, accuracy = figure.axes

    assert list(curves(loss)) == list(runs)
    assert curves(loss)["run 0"] == ([1, 2, 3], HEAD["val_loss"])
    assert curves(accuracy)["run 1"][1] == HEAD["val_accuracy"] + TUNED["val_accuracy"]
    colours = [x.get_color() for x in loss.get_lines() if x.get_gid() != START]
    assert len(set(colours)) == 6
    assert set(colours) <= set(PALETTE)
    assert [loss.get_ylabel(), accuracy.get_ylabel()] == [
        "validation loss",
        "validation accuracy",
    ]
    assert starts(loss) == starts(accuracy) == [3.5]
    assert legend(figure) == [*runs, "start of fine-tuning"]


def test_four_runs_have_columns_and_five_an_overlay():
    def panels(count):
        runs = {str(n): HEAD for n in range(count)}
        return len(compare_histories(runs, metric="loss").axes)

    assert [panels(count) for count in (1, 4, 5)] == [1, 4, 1]


def test_an_overlay_marks_a_start_of_one_run_in_its_colour():
    runs = {str(n): HEAD for n in range(4)}
    runs["late"] = (HEAD, TUNED)
    (axes,) = compare_histories(runs, metric="loss").axes

    (mark,) = [x for x in axes.get_lines() if x.get_gid() == START]

    assert mark.get_color() == axes.get_lines()[4].get_color()
    assert mark.get_color() != GREY


def test_an_overlay_without_phases_names_no_start():
    runs = {str(n): HEAD for n in range(5)}

    assert legend(compare_histories(runs)) == list(runs)


def test_a_run_without_validation_is_overlaid_and_named_as_training():
    runs = {str(n): HEAD for n in range(5)} | {"bare": {"loss": [4.0, 2.0]}}

    loss, accuracy = compare_histories(runs).axes

    assert curves(loss)["bare (training)"] == ([1, 2], [4.0, 2.0])
    assert list(curves(accuracy)) == ["0", "1", "2", "3", "4"]


def test_an_overlay_of_training_curves_alone_is_called_so():
    (axes,) = compare_histories({str(n): {"loss": [1.0]} for n in range(5)}).axes

    assert axes.get_ylabel() == "training loss"


def test_more_runs_than_colours_differ_in_their_lines():
    runs = {str(n): HEAD for n in range(20)}
    (axes,) = compare_histories(runs, metric="val_loss").axes

    looks = {(x.get_color(), x.get_linestyle()) for x in axes.get_lines()}

    assert len(looks) == 20
    assert axes.get_ylabel() == "validation loss"


@pytest.mark.parametrize("count", [2, 6])
def test_names_are_drawn_letter_by_letter(count, tmp_path):
    names = ["_hidden", "$x_{$", "a" * 300, "5 % of $\\alpha$", "", "run\n2"]
    runs = {f"{name}{n}": HEAD for n, name in enumerate(names[:count])}

    figure = compare_histories(runs, title="$_$", path=tmp_path / "names.png")

    shown = legend(figure) if count > 4 else [a.get_title() for a in figure.axes[:2]]
    assert shown[:2] == ["_hidden0", "$x_{$1"]


@pytest.mark.parametrize(
    ("histories", "options", "message"),
    [
        ({}, {}, r"at least 1 run to its history. Received: histories=\{\}"),
        ([HEAD, TUNED], {}, r"Received: histories=\[.*Write compare_histories\(\{"),
        ({"a": ()}, {}, r"histories\['a'\] must hold at least 1 history"),
        ({"a": {}}, {}, r"Received: histories\['a'\] with 0 metrics"),
        ({"a": None}, {}, r"Received: histories\['a'\]=None"),
        (
            {"a": HEAD, "b": (HEAD, HEAD)},
            {},
            r"Expected: epoch=\[3, 4, 5\]. Received: histories\['b'\]\[1\] with",
        ),
        (
            {"a": {"loss": [1], "val_loss": [1]}, "b": {"auc": [1]}},
            {"metric": "acuracy"},
            r"must be one of: loss, val_loss, auc. Received: metric='acuracy'",
        ),
        (
            {"a": {"loss": [1], "per_class": [[1, 2]]}},
            {"metric": "per_class"},
            r"must be one of: loss. Received: metric='per_class'",
        ),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(histories, options, message):
    with pytest.raises(ValueError, match=message):
        compare_histories(histories, **options)
