"""A database server of each kind, once for all tests that need one."""

from __future__ import annotations

import pytest

from pipeline.metadata.connection import PASSWORD, USERNAME
from tests import databases


@pytest.fixture(params=["postgresql", "mariadb"], scope="session")
def metadata_url(request):
    with getattr(databases, request.param)() as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv(USERNAME, databases.USER)
        patch.setenv(PASSWORD, databases.PASSWORD)
        yield url
