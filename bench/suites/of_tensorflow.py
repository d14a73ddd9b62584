"""Of TensorFlow: cases with that mark, which no other backend can have.

A hook that the conftests of the suites and of the tests share.
"""

import pytest


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave out what is of TensorFlow by nature where Keras has another backend."""
    from tlcore.backend.installed import chosen_backend

    if chosen_backend() == "tensorflow":
        return
    left_out = [x for x in items if x.get_closest_marker("tensorflow")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [x for x in items if not x.get_closest_marker("tensorflow")]
