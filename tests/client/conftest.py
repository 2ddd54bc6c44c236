from collections.abc import Iterator

import pytest

from orderapi.client import OrderClient
from tests.support.front import Front, fronted
from tests.support.running import Server, serving


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not use a proxy that the machine of the tests may have."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real gunicorn for all tests. Each test uses customers of its own."""
    with serving(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture
def client(service: Server) -> Iterator[OrderClient]:
    with OrderClient(service.url, wait=False) as client:
        yield client


@pytest.fixture
def front(service: Server) -> Iterator[Front]:
    """A server in front of the real one. `front.answers` says which answers it replaces."""
    with fronted(service) as front:
        yield front


@pytest.fixture
def fronted_client(front: Front) -> Iterator[OrderClient]:
    with OrderClient(front.url, wait=False) as client:
        yield client
