"""What the tests of both packages share: examples that repeat, a reader of pages."""

import gc
import signal
from html.parser import HTMLParser

import pytest
from hypothesis import settings
from of_tensorflow import pytest_collection_modifyitems  # noqa: F401 - a hook

# The same examples every time: what lands is never red by chance. To look for new ones:
# pytest --hypothesis-profile default.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


def pytest_collection_finish():
    # What the imports and the collection made stays: each full garbage collection would
    # go through its half a million objects again, a tenth of the time of all tests.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_is_heard():
    # A shell without job control starts what it puts into the background with SIGINT
    # ignored, and every process that a test starts would inherit that.
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, before)


class Tags(HTMLParser):
    """Every element of a page with its attributes, and whether all were closed."""

    VOID = frozenset({"meta", "link", "img", "br", "hr", "input"})

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="session")
def tags_of():
    """Return the class that reads the elements of a page."""
    return Tags
