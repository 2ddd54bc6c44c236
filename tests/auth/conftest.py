from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.running import Server, serving


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Server]:
    """A server of two processes that answers only requests with a token."""
    with serving(tmp_path, AUTH="required") as running:
        yield running
