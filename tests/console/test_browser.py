"""The pages in a real browser, beside a service under load: with scripts and without them."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.support.browser import Browser
from tests.support.console_pages import NO_SUCH_ID
from tests.support.console_process import ConsoleProcess, console_running
from tests.support.running import Answer, Server, serving
from tests.support.waiting import wait_until

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
HOSTILE = "\u202eresu\u202c <b onclick=alert(1)>&" + "W" * 90


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


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service that takes orders all the time."""
    with serving(tmp_path_factory.mktemp("served")) as server, ordering(server):
        yield server


@pytest.fixture(scope="module")
def process(served: Server) -> Iterator[ConsoleProcess]:
    """A console beside it."""
    with console_running(served.database) as running:
        yield running


@pytest.fixture
def pages(browser: Browser, process: ConsoleProcess) -> Browser:
    """A browser that has entered the console."""
    browser.open(process.links()[-1])
    browser.wait_for_text("What happened to this order?")
    return browser


def order(server: Server, key: str, **headers: str) -> Answer:
    payload = {"customer_id": f"customer of {key}", "item_id": HOSTILE, "quantity": 7}
    answer = server.order(key, payload, 30.0, **headers)
    assert answer.status == 201
    return answer


def search(browser: Browser, query: str) -> None:
    """Type a text into the search box of the page, and press Enter."""
    box = browser.one("input[name=q]")
    box.clear()
    box.send_keys(query, Keys.ENTER)


def wait_for_path(browser: Browser, path: str) -> None:
    wait_until(lambda: browser.driver.current_url.endswith(path), path)


def test_an_order_is_found_by_each_kind_of_id(
    pages: Browser, served: Server, process: ConsoleProcess
) -> None:
    order_id = order(served, "find-me", traceparent=TRACEPARENT).json["order_id"]
    ((event_id, sequence),) = served.rows(
        f"SELECT event_id, sequence FROM events WHERE order_id = '{order_id}'"
    )
    trace_id = TRACEPARENT.split("-")[1]
    for query in ("find-me", '"find-me"', order_id, event_id, str(sequence), trace_id):
        pages.open(process.address)
        search(pages, query)
        wait_for_path(pages, f"/orders/{order_id}")
    search(pages, "public")
    wait_for_path(pages, "/clients/public")
    search(pages, "customer of find-me")
    pages.wait_for_text("Orders of customer customer of find-me")
    pages.one("tbody a").click()
    pages.wait_for_text("Proven: made exactly once")
    assert TRACEPARENT in pages.text()
    pages.one(".neighbours a[rel=next]").click()
    pages.wait_for_text(f"Event {sequence + 1} of the feed")
    assert pages.messages() == []
    assert pages.requested_hosts() == {process.address.removeprefix("http://")}


@pytest.mark.parametrize("with_scripts", [True, False], ids=["with-scripts", "without-scripts"])
def test_a_retry_has_four_outcomes(
    pages: Browser, served: Server, process: ConsoleProcess, with_scripts: bool
) -> None:
    key = f"retry-{with_scripts}"
    order_id = order(served, key).json["order_id"]
    pages.allow_scripts(allowed=with_scripts)
    pages.open(f"{process.address}/orders/{order_id}")
    pages.one(".page-actions .button").click()
    pages.wait_for_text("The client gets the first answer again")
    assert f'"order_id":"{order_id}"' in pages.text()

    body = pages.one("#body")
    body.send_keys(Keys.BACKSPACE, "0}")
    pages.one("button.primary:not([type])").submit()
    pages.wait_for_text("The key belongs to another payload")
    (differing,) = pages.all("tr.differs")
    assert differing.text.split() == ["quantity", "7", "70", "differs"]

    pages.one("#key").send_keys("-new")
    pages.one("#key").submit()
    pages.wait_for_text("The service makes an order")

    pages.one("#body").clear()
    pages.one("#body").send_keys("{")
    pages.one("#key").submit()
    pages.wait_for_text("400 malformed-json")
    assert pages.messages() == []
    assert served.rows(
        f"SELECT COUNT(*) FROM idempotency_keys WHERE idempotency_key LIKE '{key}%'"
    ) == [(1,)]


def test_every_page_is_accessible_and_fits_on_a_phone(
    pages: Browser, served: Server, process: ConsoleProcess
) -> None:
    order_id = order(served, "page").json["order_id"]
    conflict = {
        "client": "public",
        "key": "page",
        "body": '{"customer_id":"c","item_id":"i","quantity":1}',
    }
    refused = {"client": "public", "key": "k", "body": "{}"}
    for path in (
        "/",
        "/search?q=nobody",
        f"/search?q={NO_SUCH_ID}",
        f"/orders/{order_id}",
        f"/orders?{urlencode({'customer': 'customer of page'})}",
        "/orders?customer=nobody",
        "/now",
        "/orders",
        "/events",
        "/clients/public",
        "/retry",
        f"/retry?{urlencode(conflict)}",
        f"/retry?{urlencode(refused)}",
        "/missing",
    ):
        pages.use_width(1280)
        pages.use_scheme("light")
        pages.open(process.address + path)
        assert pages.accessibility_findings() == [], path
        # The other scheme changes the colours of the page, and nothing else.
        pages.use_scheme("dark")
        assert pages.accessibility_findings("color-contrast") == [], path
        pages.use_width(500)
        assert pages.overflow_px() == 0, path


def test_a_new_order_appears_by_itself_and_the_page_works_without_scripts(
    pages: Browser, process: ConsoleProcess
) -> None:
    pages.open(f"{process.address}/now")
    before = pages.text_of('[data-live="newest"] tbody')
    wait_until(lambda: pages.text_of('[data-live="newest"] tbody') != before, "newer orders")
    pages.wait_for_text("new order")
    pages.allow_scripts(allowed=False)
    pages.open(f"{process.address}/now")
    assert pages.one(".bar-fill").get_attribute("height") is not None
    assert not pages.one("#live").is_displayed()
    assert pages.messages() == []
    assert pages.requested_hosts() == {process.address.removeprefix("http://")}


@pytest.fixture
def live(pages: Browser, process: ConsoleProcess) -> Browser:
    """A browser that shows the page "Now", and polls it twenty times a second."""
    pages.open(f"{process.address}/now")
    pages.driver.execute_script(
        "performance.setResourceTimingBufferSize(100000);"
        "document.getElementById('live').dataset.pollMs = 50"
    )
    wait_until(lambda: polls(pages) > 2, "polls")
    return pages


def polls(browser: Browser, since_ms: float = 0.0) -> int:
    """Count how often the script has begun to poll since a time of `performance.now()`."""
    return int(
        browser.driver.execute_script(
            "return performance.getEntriesByType('resource').filter("
            "(entry) => entry.name.endsWith('/now') && entry.startTime > arguments[0]).length",
            since_ms,
        )
    )


def now_ms(browser: Browser) -> float:
    return float(browser.driver.execute_script("return performance.now()"))


def stays_unpolled(browser: Browser, for_ms: float = 500.0) -> bool:
    """Tell whether the script begins no poll in so many milliseconds."""
    since_ms = now_ms(browser)
    wait_until(lambda: now_ms(browser) > since_ms + for_ms)
    return polls(browser, since_ms) == 0


def test_the_button_pauses_the_page_and_continues_it(live: Browser) -> None:
    button = live.one("#live")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert live.text_of("#live-status") == "Paused"
    assert stays_unpolled(live)
    button.click()
    since_ms = now_ms(live)
    wait_until(lambda: polls(live, since_ms) > 1, "polls")
    assert live.text_of("#live-status") != "Paused"


def test_a_hidden_tab_asks_for_nothing(live: Browser) -> None:
    tab = live.driver.current_window_handle
    live.driver.switch_to.new_window("tab")
    other = live.driver.current_window_handle
    live.driver.switch_to.window(tab)
    live.driver.execute_cdp_cmd("Target.activateTarget", {"targetId": other})
    wait_until(lambda: live.driver.execute_script("return document.hidden"), "a hidden tab")
    # A browser runs the timers of a hidden tab once a second.
    assert stays_unpolled(live, 2500)
    live.driver.switch_to.window(other)
    live.driver.close()
    live.driver.switch_to.window(tab)
    since_ms = now_ms(live)
    wait_until(lambda: polls(live, since_ms) > 1, "polls")


@pytest.mark.parametrize("means", ["pointer", "focus"])
def test_what_the_reader_uses_stays_as_it_is(live: Browser, means: str) -> None:
    newest = '[data-live="newest"] tbody'
    switch = "document.getElementById('live').click()"
    # The page is paused meanwhile, so that it does not replace what the pointer shall move to.
    live.driver.execute_script(switch)
    if means == "pointer":
        ActionChains(live.driver).move_to_element(live.one('[data-live="newest"] h2')).perform()
    else:
        live.driver.execute_script("document.querySelector('[data-live=newest] a').focus()")
    live.driver.execute_script(switch)
    live.wait_for_text("is paused")
    shown = live.text_of(newest)
    for _ in range(3):
        wait_for_newer_numbers(live)
    assert live.text_of(newest) == shown
    if means == "pointer":
        ActionChains(live.driver).move_to_element(live.one("h1")).perform()
    else:
        live.driver.execute_script("document.activeElement.blur()")
    wait_until(lambda: live.text_of(newest) != shown, "newer orders")


def wait_for_newer_numbers(browser: Browser) -> None:
    tiles = '[data-live="tiles"]'
    before = browser.text_of(tiles)
    wait_until(lambda: browser.text_of(tiles) != before, "newer numbers")


def test_the_page_says_when_it_is_not_up_to_date_any_more(live: Browser, served: Server) -> None:
    live.driver.delete_all_cookies()
    live.wait_for_text("This page is not up to date any more. Open it again.")
    with console_running(served.database) as other:
        live.open(other.links()[-1])
        live.wait_for_text("What happened to this order?")
        live.open(f"{other.address}/now")
        live.driver.execute_script("document.getElementById('live').dataset.pollMs = 50")
    live.wait_for_text("The console does not answer.")


def test_an_id_is_shortened_and_copied_whole(
    pages: Browser, served: Server, process: ConsoleProcess
) -> None:
    order_id = order(served, "copy-me").json["order_id"]
    pages.open(f"{process.address}/orders?{urlencode({'customer': 'customer of copy-me'})}")
    shown = pages.one("code.id")
    assert shown.size["width"] < 200
    copied = pages.driver.execute_script(
        "getSelection().selectAllChildren(arguments[0]); return getSelection().toString()", shown
    )
    assert copied == order_id


def test_a_link_of_a_colleague_leads_to_its_page_once_this_browser_has_access(
    browser: Browser, process: ConsoleProcess, served: Server
) -> None:
    order_id = order(served, "share-me").json["order_id"]
    browser.open(f"{process.address}/orders/{order_id}")
    assert "This browser has no access" in browser.text()
    assert order_id not in re.sub(r"/orders/\S+", "", browser.text())
    browser.open(process.links()[-1])
    browser.wait_for_text("What happened to this order?")
    browser.open(f"{process.address}/orders/{order_id}")
    browser.wait_for_text("Proven: made exactly once")
