"""What the tests share: a feature cache of their own."""

import pytest

from tlcore.feature_cache import FOLDER_VARIABLE


@pytest.fixture(scope="session", autouse=True)
def _feature_cache_of_its_own(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("features")))
        yield
