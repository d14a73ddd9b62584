"""Training on sample images: seconds per epoch and accuracy of both phases."""

import keras
import pytest

import tlcore as tl
from tlcore.training import evaluate

SEEDS = (1, 2, 3)
EPOCHS = 5


def accuracy(record, model, folder, seed):
    """Record the accuracy on a whole folder."""
    score = evaluate(model, folder)["accuracy"]
    correct = round(score.value * score.n)
    record.metric("test_accuracy", correct=correct, n=score.n, seed=seed)
    return score


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("phase", ["feature_extraction", "fine_tuning"])
def bench_sample_net(phase, seed, sample_splits, time_epochs, record):
    """sample_net with its weights on ten classes it was not pretrained on."""
    keras.utils.set_random_seed(seed)
    model = tl.create_model("sample_net", 10, input_shape=(96, 96, 3))
    train, validation = sample_splits.train, sample_splits.validation
    before = tl.frozen_fingerprint(model)
    first = tl.feature_extract(
        model, train, validation, epochs=EPOCHS, learning_rate=1e-2, verbose=0
    )
    record.exact("frozen_is_frozen", tl.frozen_fingerprint(model) == before)
    start = 0
    if phase == "fine_tuning":
        start = len(first.epoch)
        tl.fine_tune(model, train, validation, history=first, epochs=1, verbose=0)
        start += 1
    counts = tl.trainable_summary(model)
    record.exact("trainable_params", counts.trainable_params)
    record.exact("trainable_tensors", counts.trainable_tensors)

    def epoch(index: int) -> None:
        tl.fit(
            model,
            train,
            validation=validation,
            initial_epoch=start + index,
            epochs=start + index + 1,
            verbose=0,
        )

    time_epochs(epoch, epochs=EPOCHS)
    accuracy(record, model, sample_splits.test, seed)
