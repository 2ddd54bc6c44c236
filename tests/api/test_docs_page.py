"""The page `/docs` in a real browser: it shows the document, and makes an order with it."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from selenium.webdriver.remote.webelement import WebElement

from tests.support.browser import Browser
from tests.support.rows import query
from tests.support.running import Server, serving
from tests.support.tokens import create
from tests.support.waiting import wait_until

CREATE = "#operations-Orders-create_order"


@pytest.fixture
def requiring(tmp_path: Path) -> Iterator[Server]:
    """A server that wants a token."""
    with serving(tmp_path, AUTH="required") as server:
        yield server


def button(browser: Browser, selector: str, label: str) -> WebElement:
    """Wait for the button with this label, and give it."""

    def found() -> list[WebElement]:
        return [each for each in browser.all(f"{selector} button") if each.text.strip() == label]

    wait_until(lambda: bool(found()), f"the button {label}")
    return found()[0]


def open_operation(browser: Browser, server: Server) -> None:
    """Open the page at the operation that makes an order."""
    browser.open(f"{server.url}/docs")
    browser.one(f"{CREATE} .opblock-summary-control").click()


def execute(browser: Browser) -> str:
    """Send the order that the page shows. Gives the status and the headers of the answer."""
    button(browser, CREATE, "Execute").click()
    return browser.text_of(f"{CREATE} .live-responses-table tbody")


def authorize(browser: Browser, token: str) -> None:
    """Give the page a token, as its reader does."""
    button(browser, ".scheme-container", "Authorize").click()
    browser.one(".modal-ux input").send_keys(token)
    button(browser, ".modal-ux", "Authorize").click()
    button(browser, ".modal-ux", "Close").click()


def test_the_page_shows_every_operation_and_the_webhook(browser: Browser, clean: Server) -> None:
    browser.open(f"{clean.url}/docs")
    browser.one(".opblock")
    for shown in ("Create an order exactly once", "/orders/{order_id}", "/readyz", "order.created"):
        browser.wait_for_text(shown)
    assert browser.requested_hosts() == {urlsplit(clean.url).netloc}
    assert browser.messages() == []


def test_an_order_is_made_from_the_page_and_then_replayed(browser: Browser, server: Server) -> None:
    open_operation(browser, server)
    answer = execute(browser)
    assert answer.startswith("201")
    assert "idempotent-replayed" not in answer
    button(browser, CREATE, "Clear").click()
    assert "idempotent-replayed: true" in execute(browser)
    assert set(server.counts().values()) == {1}
    assert browser.requested_hosts() == {urlsplit(server.url).netloc}
    assert browser.messages() == []


def test_a_token_is_asked_for_and_used(browser: Browser, requiring: Server) -> None:
    _, token = create(requiring.engine, "shop")
    open_operation(browser, requiring)
    assert execute(browser).startswith("401")
    button(browser, CREATE, "Clear").click()
    authorize(browser, token)
    assert execute(browser).startswith("201")
    assert query(requiring.database, "SELECT client_id FROM idempotency_keys") == [("shop",)]
    assert browser.requested_hosts() == {urlsplit(requiring.url).netloc}
    # The browser itself reports the answer 401.
    assert len(browser.messages()) == 1


def test_the_page_without_scripts_says_where_the_document_is(
    browser: Browser, clean: Server
) -> None:
    browser.allow_scripts(allowed=False)
    browser.open(f"{clean.url}/docs")
    assert "The document itself is at /openapi.json" in browser.text()
