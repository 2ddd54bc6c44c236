from collections.abc import Iterator

import pytest

from tests.support.nginx_site import ServerBehind, Site, new_site, serving_behind
from tests.support.programs import Program
from tests.support.upstream import Upstream, listening


@pytest.fixture(scope="session")
def nginx(program: Program) -> str:
    return program("nginx", "nginx")


@pytest.fixture
def site(nginx: str) -> Iterator[Site]:
    """Give the shipped site, without a service behind it."""
    with new_site(nginx) as site:
        site.start()
        yield site


@pytest.fixture
def upstream(site: Site) -> Iterator[Upstream]:
    """Give a service behind `site` that fails as its script says."""
    with listening(site.socket) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def shared_server(nginx: str) -> Iterator[ServerBehind]:
    """Give one service behind the shipped site, for all tests of a file."""
    with new_site(nginx) as site:
        site.start()
        with serving_behind(site) as server:
            yield server
