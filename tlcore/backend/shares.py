"""Shares: what each of several devices gets of a batch.

Owns the sentence for batches that cannot be divided. Which devices share the work is
the user's: `tf.distribute.MirroredStrategy` around the model, or
`keras.distribution.DataParallel` on JAX.
"""

from typing import Any

from tlcore.arguments import counted
from tlcore.backend import seam


def check_shares(name: str, model: Any, images: int, batch_size: int) -> None:
    """Refuse batches of which a device would get nothing.

    Args:
        name: what the data is called.
        model: the model that trains.
        images: their number in an epoch.
        batch_size: images of a batch; the last one of an epoch may hold fewer.

    Raises:
        ValueError: a batch holds fewer images than there are devices, and the backend
            cannot give one device all of it.
    """
    backend = seam.current()
    devices = backend.replicas(model)
    least = images % batch_size or batch_size
    if least < devices and not backend.REPLICATES_SMALL_BATCHES:
        raise ValueError(
            f"Each of {counted(devices, 'device')} must get an image of every batch. "
            f"Received: {name} with a batch of {counted(least, 'image')}. Choose a "
            "batch_size that leaves no image over, or more of them."
        )
