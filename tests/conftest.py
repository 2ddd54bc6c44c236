import os
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, settings

from orderapi.app import create_app
from orderapi.settings import read_settings
from orderapi.store.contract import Store
from orderapi.store.open import open_store
from tests.support.browser import Browser, browsing
from tests.support.engines import ENGINES, Engine, SqliteEngine, stop_shared
from tests.support.http_messages import stores_nothing
from tests.support.programs import Program, find_or_install
from tests.support.promises import TESTS
from tests.support.running import Server, serving

# The folders whose tests run on every engine, unless they use the file of a SQLite database.
_ON_EVERY_ENGINE = ("api", "auth", "console", "faults", "ops", "relay", "store")

# The tests that are only for PostgreSQL. `make test` leaves them out, because it has to end within
# 8 minutes on two cores. They run when `--engine` selects PostgreSQL.
_OF_POSTGRES = (
    TESTS / "bench" / "postgres",
    TESTS / "deploy" / "test_postgres_examples.py",
    TESTS / "deploy" / "test_postgres_role.py",
    TESTS / "faults" / "postgres",
    TESTS / "ops" / "backup" / "test_postgres.py",
    TESTS / "ops" / "copy",
    TESTS / "store" / "postgres",
)

# A property is also true on a machine that stalls, so hypothesis measures no time.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

# A shell lets its background jobs ignore Ctrl-C, and what the tests start would inherit this.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """With CI=true a skipped test fails, because everything can be installed there."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]  # pluggy gives a Result
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome = "failed"


@pytest.fixture(scope="session")
def program() -> Program:
    """Give a function that finds a program. It installs the package with apt where it may."""
    return find_or_install


@pytest.fixture(scope="session")
def shared_browser(program: Program) -> Iterator[Browser]:
    """One Chromium for all tests of this process, because it takes a second to start."""
    with browsing(program) as browser:
        yield browser


@pytest.fixture
def browser(shared_browser: Browser) -> Browser:
    """A Chromium without the cookies and pages of other tests."""
    shared_browser.forget()
    return shared_browser


@pytest.fixture(scope="session")
def engine_name(request: pytest.FixtureRequest) -> str:
    """The database engine of this test. The option `--engine` decides on which ones it runs."""
    return str(getattr(request, "param", "sqlite"))


@pytest.fixture
def engine(engine_name: str, tmp_path: Path) -> Iterator[Engine]:
    """The data of this test, on its engine."""
    engine = ENGINES[engine_name](tmp_path)
    yield engine
    engine.remove()


@pytest.fixture
def store(engine: Engine) -> Iterator[Store]:
    """A real store, whose tables are made."""
    if isinstance(engine, SqliteEngine):
        engine.fill_with_empty_tables()
    store = open_store(engine.url)
    store.prepare()
    yield store
    store.close()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The file of the fixture `store`. A test that uses it runs only on SQLite."""
    return tmp_path / "orders.db"


@pytest.fixture
def client(store: Store) -> FlaskClient:
    """A client of the application in this process, on `store`. There is no server."""
    return create_app(read_settings({}), store).test_client()


@pytest.fixture
def guarded(tmp_path: Path, engine: Engine) -> Iterator[Server]:
    """A server of two processes that answers only requests with a token."""
    with serving(tmp_path, engine, AUTH="required") as running:
        yield running


@pytest.fixture
def server(tmp_path: Path, engine: Engine) -> Iterator[Server]:
    """A real gunicorn with a database of its own."""
    with serving(tmp_path, engine) as running:
        yield running


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory, engine_name: str) -> Iterator[Server]:
    """A real gunicorn for tests that need no process and no empty store of their own."""
    directory = tmp_path_factory.mktemp("shared")
    engine = ENGINES[engine_name](directory)
    with serving(directory, engine) as running:
        yield running
    engine.remove()


@pytest.fixture
def clean(shared_server: Server) -> Iterator[Server]:
    """A server that must store nothing in this test, and must still serve after it."""
    with stores_nothing(shared_server):
        yield shared_server


@pytest.fixture
def refusing(client: FlaskClient, engine: Engine) -> Iterator[FlaskClient]:
    """A client of the application in this process, which must store nothing in this test."""
    yield client
    assert set(engine.counts()) == {0}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that says on which database engines the tests run."""
    parser.addoption(
        "--engine",
        choices=(*ENGINES, "all"),
        default="sqlite",
        help="run the tests that do not depend on an engine on this one (default: sqlite)",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on each engine that the option `--engine` selects."""
    chosen = metafunc.config.getoption("--engine")
    if chosen != "sqlite" and _runs_on_every_engine(metafunc):
        names = [*ENGINES] if chosen == "all" else [chosen]
        if _reason_of(metafunc, "without_pgbouncer"):
            names = [name for name in names if name != "pgbouncer"]
        # If no engine is left, the test runs on SQLite, as every test does that is bound to SQLite.
        if names:
            metafunc.parametrize("engine_name", names, indirect=True, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that are only for PostgreSQL, unless `--engine` selects it."""
    if config.getoption("--engine") != "sqlite" or config.getoption("-m"):
        return
    left_out = [item for item in items if _is_left_out(item.path)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@cache
def _is_left_out(path: Path) -> bool:
    return any(path.is_relative_to(place) for place in _OF_POSTGRES)


def _runs_on_every_engine(metafunc: pytest.Metafunc) -> bool:
    used = metafunc.fixturenames
    folder = metafunc.definition.path.relative_to(TESTS).parts[0]
    return (
        "engine_name" in used
        and "database" not in used
        and folder in _ON_EVERY_ENGINE
        and not _reason_of(metafunc, "sqlite_only")
    )


def _reason_of(metafunc: pytest.Metafunc, marker: str) -> str | None:
    """Give the reason that a marker has, if the test has this marker."""
    found = metafunc.definition.get_closest_marker(marker)
    if found is None:
        return None
    (reason,) = found.args
    return str(reason)


def pytest_sessionfinish() -> None:
    """Stop the database servers that the tests of this process share."""
    stop_shared()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that tests have recorded, also in other processes."""
    for report in terminalreporter.getreports(""):  # one report for each phase of a test
        for name, value in getattr(report, "user_properties", ()):
            terminalreporter.write_line(f"{name}: {value}")
