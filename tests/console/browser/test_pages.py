"""The pages in a real browser, beside a service under load: with scripts and without them."""

import re
from urllib.parse import urlencode

import pytest
from selenium.webdriver.common.keys import Keys

from tests.support.browser import Browser
from tests.support.console_pages import NO_SUCH_ID
from tests.support.console_process import ConsoleProcess
from tests.support.running import Answer, Server
from tests.support.waiting import wait_until

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
HOSTILE = "\u202eresu\u202c <b onclick=alert(1)>&" + "W" * 90


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
    pages.wait_for_text(f"Event {sequence + 1:,} of the feed")
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
