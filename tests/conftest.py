import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, settings

from orderapi.app import create_app
from orderapi.settings import read_settings
from orderapi.store.sqlite.store import SqliteStore
from tests.support.browser import Browser, browsing
from tests.support.http_messages import stores_nothing
from tests.support.programs import Program, find_or_install
from tests.support.rows import counts
from tests.support.running import Server, serving

# A property holds on a machine that stalls, too: hypothesis measures no time.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """With CI=true a skip is a failure: there everything can be installed."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]  # pluggy gives a Result
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome = "failed"


@pytest.fixture(scope="session")
def program() -> Program:
    """Give a function that finds a program, and installs its package with apt where it may."""
    return find_or_install


@pytest.fixture(scope="session")
def shared_browser(program: Program) -> Iterator[Browser]:
    """One Chromium for all tests of this process, because it takes a second to start."""
    with browsing(program) as browser:
        yield browser


@pytest.fixture
def browser(shared_browser: Browser) -> Browser:
    """A Chromium that remembers nothing of another test."""
    shared_browser.forget()
    return shared_browser


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The file of the fixture `store`."""
    return tmp_path / "orders.db"


@pytest.fixture
def store(database: Path) -> Iterator[SqliteStore]:
    """A real store in a temporary directory."""
    store = SqliteStore(database)
    store.prepare()
    yield store
    store.close()


@pytest.fixture
def client(store: SqliteStore) -> FlaskClient:
    """The application in this process, on `store`; without a server."""
    return create_app(read_settings({}), store).test_client()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Server]:
    """A server of two processes that answers only requests with a token."""
    with serving(tmp_path, AUTH="required") as running:
        yield running


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A real gunicorn with a database of its own."""
    with serving(tmp_path) as running:
        yield running


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real gunicorn for tests that leave it as it was."""
    with serving(tmp_path_factory.mktemp("shared")) as running:
        yield running


@pytest.fixture
def clean(shared_server: Server) -> Iterator[Server]:
    """A server that stores nothing in this test and goes on serving after it."""
    with stores_nothing(shared_server):
        yield shared_server


@pytest.fixture
def refusing(client: FlaskClient, tmp_path: Path) -> Iterator[FlaskClient]:
    """The application in this process, which stores nothing in this test."""
    yield client
    assert set(counts(tmp_path / "orders.db")) == {0}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have counted, from other processes too."""
    for report in terminalreporter.getreports(""):  # the reports of ends, one per test
        for name, value in getattr(report, "user_properties", ()):
            terminalreporter.write_line(f"{name}: {value}")
