"""Look-ahead: the same batches in the same order, begun before they are needed."""

import threading
import time

import numpy as np
import pytest

from tlcore.backend.look_ahead import InOrder, LookAhead, planned
from tlcore.backend.transport import AHEAD, Content, Plan


class Loading:
    """Begins batches, and says which."""

    def __init__(self):
        self.begun = []

    def __call__(self, index):
        self.begun.append(index)
        return lambda: (np.full(2, index), index)


class TestLookAhead:
    def test_batches_come_in_order_in_every_iteration(self):
        data = LookAhead(Loading(), 7)
        for _ in range(2):
            assert [label for _, label in data] == list(range(7))
        assert len(data) == data.num_batches == data.cardinality() == 7

    def test_the_next_batches_are_begun_and_none_twice(self):
        loading = Loading()
        data = LookAhead(loading, 20)
        assert data[0][1] == 0
        assert loading.begun == list(range(1 + AHEAD))
        assert data[1][1] == 1
        assert loading.begun == list(range(2 + AHEAD))

    def test_nothing_is_begun_beyond_the_end(self):
        loading = Loading()
        list(LookAhead(loading, 3))
        assert sorted(loading.begun) == [0, 1, 2]

    def test_without_an_end_it_goes_on_and_has_no_length(self):
        data = LookAhead(Loading(), None)
        assert data[1000][1] == 1000
        assert data.num_batches is None
        assert data.cardinality() == -1
        with pytest.raises(TypeError, match="without an end"):
            len(data)

    def test_an_iteration_that_is_left_does_not_disturb_the_next(self):
        data = LookAhead(Loading(), 10)
        iterator = iter(data)
        for _ in range(4):
            next(iterator)
        assert [label for _, label in data] == list(range(10))

    def test_what_is_mapped_keeps_the_order(self):
        data = LookAhead(Loading(), 3)
        doubled = data.map(lambda inputs, label: (inputs, 2 * label))
        assert [label for _, label in doubled.map(lambda x, y: (x, y + 1))] == [1, 3, 5]
        assert [label for _, label in data] == [0, 1, 2]


class TestPlanned:
    def content(self, read=lambda visit: np.full((2, 2, 3), visit, np.uint8)):
        return Content(
            read,
            (2, 2, 3),
            targets=lambda visits: (visits.astype(np.int32) * 10,),
            columns=(((), "int32"),),
        )

    def plan(self, **options):
        return Plan(
            lambda step: np.arange(3) + 3 * step,
            sizes=(3, 3),
            **{"count": 2, **options},
        )

    def test_images_and_labels_belong_together(self):
        batches = list(planned(self.plan(), self.content(), None))
        for step, (images, labels) in enumerate(batches):
            assert images.dtype == np.float32
            assert images[:, 0, 0, 0].tolist() == [3 * step, 3 * step + 1, 3 * step + 2]
            assert labels.tolist() == [30 * step, 30 * step + 10, 30 * step + 20]

    def test_it_starts_at_the_first_step(self):
        data = planned(self.plan(first=5, count=None), self.content(), None)
        assert data[0][1].tolist() == [150, 160, 170]

    def test_each_iteration_may_have_steps_of_its_own(self):
        begins = iter([0, 10])
        data = planned(self.plan(begin=lambda: next(begins)), self.content(), None)
        assert [labels[0] for _, labels in data] == [0, 30]
        assert [labels[0] for _, labels in data] == [300, 330]

    def test_images_are_read_by_several_threads(self):
        together, most, lock = 0, 0, threading.Lock()

        def slowly(visit):
            nonlocal together, most
            with lock:
                together += 1
                most = max(most, together)
            time.sleep(0.02)
            with lock:
                together -= 1
            return np.zeros((2, 2, 3), np.uint8)

        list(planned(self.plan(count=4), self.content(slowly), None))
        import os

        assert (os.cpu_count() or 1) == 1 or most > 1

    def test_an_error_in_a_thread_reaches_the_reader(self):
        def broken(visit):
            raise ValueError(f"image {visit} is gone")

        with pytest.raises(ValueError, match="is gone"):
            planned(self.plan(), self.content(broken), None)[0]


class TestInOrder:
    def test_each_iteration_calls_the_function_anew(self):
        calls = []

        def batches():
            calls.append(len(calls))
            yield from ((calls[-1], i) for i in range(3))

        data = InOrder(batches, 3)
        assert [data[i] for i in range(3)] == [(0, 0), (0, 1), (0, 2)]
        assert [data[i] for i in range(3)] == [(1, 0), (1, 1), (1, 2)]
        assert list(data) == [(2, 0), (2, 1), (2, 2)]
        assert len(data) == data.num_batches == 3

    def test_what_is_mapped_is_of_each_batch(self):
        data = InOrder(lambda: iter([(1, 2)]), 1).map(lambda x, y: (x + 1, y))
        assert data[0] == (2, 2)
        assert list(data) == [(2, 2)]
