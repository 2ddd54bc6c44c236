"""A service under load, a console beside it, and a browser that has entered the console."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.browser import Browser
from tests.support.console_process import ConsoleProcess, console_running
from tests.support.running import Server, serving


@contextmanager
def ordering(server: Server) -> Iterator[None]:
    """Let a client order all the time."""
    is_over = threading.Event()

    def order_on() -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            server.order(f"load-{number}")
            is_over.wait(0.02)

    thread = threading.Thread(target=order_on)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service that receives orders all the time."""
    with serving(tmp_path_factory.mktemp("served")) as server, ordering(server):
        yield server


@pytest.fixture(scope="package")
def process(served: Server) -> Iterator[ConsoleProcess]:
    """A console on the database of `served`."""
    with console_running(served.database) as running:
        yield running


@pytest.fixture
def pages(browser: Browser, process: ConsoleProcess) -> Browser:
    """A browser that has entered the console."""
    browser.open(process.links()[-1])
    browser.wait_for_text("What happened to this order?")
    return browser
