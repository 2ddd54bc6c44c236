"""The page "Now" in a real browser updates itself, except while its reader uses it."""

import pytest
from selenium.webdriver.common.action_chains import ActionChains

from tests.support.browser import Browser
from tests.support.console_process import ConsoleProcess, console_running
from tests.support.running import Server
from tests.support.waiting import wait_until


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
    """Tell whether the script begins no poll for `for_ms` milliseconds."""
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


def test_a_hidden_tab_does_not_poll(live: Browser) -> None:
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
    # The page is paused meanwhile, so that it does not replace the target of the pointer.
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


def test_the_page_reports_that_it_is_no_longer_up_to_date(live: Browser, served: Server) -> None:
    live.driver.delete_all_cookies()
    live.wait_for_text("This page is not up to date any more. Open it again.")
    with console_running(served.database) as other:
        live.open(other.links()[-1])
        live.wait_for_text("What happened to this order?")
        live.open(f"{other.address}/now")
        live.driver.execute_script("document.getElementById('live').dataset.pollMs = 50")
    live.wait_for_text("The console does not answer.")
