"""What the tests of links leave behind."""

import gc

import pytest


@pytest.fixture(scope="package", autouse=True)
def _nothing_for_others_to_clear_up():
    """Collect the connections of links, which nobody closes.

    Else that happens in any test that comes later, and fails in one of endless recursion.
    """
    yield
    gc.collect()
