"""Plain Keras: what a tutorial writes, for the other side of a ratio."""

SIZE = 224


def plain_model(classes, *, size=SIZE, last=0, augmented=False):
    """Return EfficientNetB0 inside a functional model, compiled.

    Its last layers train, and the head.
    """
    import keras

    network = keras.applications.EfficientNetB0(
        include_top=False, weights=None, input_shape=(size, size, 3)
    )
    network.trainable = last > 0
    for layer in network.layers[: len(network.layers) - last]:
        layer.trainable = False
    inputs = keras.Input((size, size, 3))
    x = inputs
    if augmented:
        x = keras.Sequential(
            [
                keras.layers.RandomFlip("horizontal"),
                keras.layers.RandomRotation(0.2),
                keras.layers.RandomZoom(0.2),
                keras.layers.RandomZoom(height_factor=0.2, width_factor=0.0),
                keras.layers.RandomZoom(height_factor=0.0, width_factor=0.2),
            ]
        )(x)
    x = keras.layers.GlobalAveragePooling2D()(network(x, training=False))
    outputs = keras.layers.Dense(classes, activation="softmax")(x)
    model = keras.Model(inputs, outputs)
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return model


def batches_of(count, batch_at):
    """Return batches, given their number and a function of their index."""
    import keras

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return count

        def __getitem__(self, index):
            return batch_at(index)

    return Batches()
