"""A database server of each kind, once for all tests that need one; imports without pauses."""

from __future__ import annotations

import contextlib
import ctypes
import gc

import hypothesis
import pytest

from pipeline.metadata.connection import PASSWORD, USERNAME
from tests import databases
from tests.forking import RARELY

# Collecting the tests imports TensorFlow, TFX and Beam. What that makes stays to the end, and the
# garbage collector would look through it again and again.
gc.disable()

# How long an example takes says more about what else the machine does than about the code.
hypothesis.settings.register_profile("any speed", deadline=None)
hypothesis.settings.load_profile("any speed")


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(*RARELY)
    gc.enable()


@pytest.fixture(autouse=True, scope="module")
def freed():
    """What a file's tests have left is gone before the next file's begin."""
    yield
    gc.collect()
    # The C library keeps what was freed in pieces: half a gigabyte after a training.
    with contextlib.suppress(AttributeError):  # glibc has this, others do without
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(params=["postgresql", "mariadb"], scope="session")
def metadata_url(request):
    with getattr(databases, request.param)() as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv(USERNAME, databases.USER)
        patch.setenv(PASSWORD, databases.PASSWORD)
        yield url
