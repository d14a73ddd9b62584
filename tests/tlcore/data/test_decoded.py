"""Decoded: which images are kept in memory, and that they change nothing."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from tlcore.data import pipeline
from tlcore.data.decoded import DecodedImages
from tlcore.data.image_folder import image_folder
from tlcore.data.reading import Reading
from tlcore.data.sample_images import write_sample_images


def image(value, nbytes=10):
    return np.full(nbytes, value, np.uint8)


def test_an_image_is_read_once():
    images, read = DecodedImages(100), []
    for _ in range(3):
        got = images.get("a", lambda: read.append(1) or image(7))
        assert got[0] == 7
    assert len(read) == 1


def test_without_room_an_image_is_read_each_time():
    images = DecodedImages(30)
    for name in "abcd":
        images.get(name, lambda: image(1))
    assert [images.get(n, lambda: image(2))[0] for n in "abcd"] == [1, 1, 1, 2]


@pytest.mark.parametrize(("count", "fits"), [(0, True), (10, True), (11, False)])
def test_a_folder_is_kept_if_it_fits(count, fits):
    assert DecodedImages(100).fits(count, 10) == fits


def test_a_worker_gets_none_of_them():
    images = DecodedImages(100)
    images.get("a", lambda: image(1))
    copy = pickle.loads(pickle.dumps(images))
    assert copy.get("a", lambda: image(2))[0] == 2
    assert copy.fits(10, 10)
    assert not copy.fits(11, 10)


def test_threads_keep_the_count_right():
    images = DecodedImages(1000)
    with ThreadPoolExecutor(8) as pool:
        keys = [i % 50 for i in range(4000)]
        got = list(pool.map(lambda k: images.get(k, lambda: image(k))[0], keys))
    assert got == keys
    assert images._nbytes == sum(x.nbytes for x in images._images.values()) == 500


class TestFolder:
    @pytest.fixture
    def folder(self, tmp_path):
        write_sample_images(tmp_path / "images", classes=2, per_class=3, size=40)
        return image_folder(tmp_path / "images", image_size=32, batch_size=4)

    @pytest.fixture
    def reads(self, monkeypatch):
        reads, read = [], pipeline.read_checked_image

        def counted(*arguments):
            reads.append(arguments)
            return read(*arguments)

        monkeypatch.setattr(pipeline, "read_checked_image", counted)
        return reads

    def pixels(self, folder, batches):
        return [np.asarray(x) for x, _ in folder.stream().take(batches)]

    def test_later_epochs_and_other_orders_decode_nothing(self, folder, reads):
        first = self.pixels(folder, 4)
        count = len(reads)  # 6, or some more where two threads read one image
        again = self.pixels(folder, 4)
        np.testing.assert_equal(first, again)
        shown = np.concatenate([x for x, _ in folder.unshuffled().dataset()])
        assert len(reads) == count
        images = {x.tobytes() for batch in first for x in batch}
        assert {x.tobytes() for x in shown} == images

    def test_another_size_is_decoded_again(self, folder, reads):
        self.pixels(folder, 2)
        count = len(reads)
        small = replace(folder, image_size=(16, 16))
        assert self.pixels(small, 2)[0].shape == (4, 16, 16, 3)
        assert len(reads) >= count + 6

    def test_another_reading_is_decoded_again(self, folder, reads):
        wide = replace(folder, image_size=(32, 16))
        squashed = self.pixels(wide, 2)
        count = len(reads)
        padded = self.pixels(replace(wide, reading=Reading.of(fit="pad")), 2)
        assert len(reads) >= count + 6
        assert not np.array_equal(squashed, padded)

    def test_a_folder_that_does_not_fit_is_decoded_each_time(self, folder, reads):
        large = replace(folder, decoded=DecodedImages(6 * 32 * 32 * 3 - 1))
        self.pixels(large, 2)
        self.pixels(large, 2)
        assert len(reads) >= 12

    def test_a_folder_that_is_opened_again_reads_its_files(self, folder, reads):
        self.pixels(folder, 2)
        count = len(reads)
        again = image_folder(folder.directory, image_size=32, batch_size=4)
        self.pixels(again, 2)
        assert len(reads) >= count + 6
