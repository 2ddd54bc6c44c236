"""A headless Chromium that notes what a page did: its messages, its requests, its accessibility."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.support.programs import Program
from tests.support.waiting import wait_until

PAGE_LOAD_MAX_S = 60
_AXE = files("axe_core_python").joinpath("axe.min.js")


class Browser:
    """One browser. `driver` is selenium's own object, for whatever has no method here."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        """Open a page, and wait until it and its files are loaded."""
        self.driver.get(url)

    def all(self, selector: str) -> list[WebElement]:
        """Give all elements that a CSS selector selects."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        """Wait for the first element that a CSS selector selects, and give it."""
        wait_until(lambda: bool(self.all(selector)), f"an element {selector}")
        return self.all(selector)[0]

    def text(self) -> str:
        """Give the text of the page as a reader sees it."""
        return self.text_of("body")

    def text_of(self, selector: str) -> str:
        """Give the text of the first element that a CSS selector selects.

        A script may replace the element in the meantime. Then the new element is read.
        """
        while True:
            try:
                return self.one(selector).text
            except StaleElementReferenceException:
                continue

    def wait_for_text(self, text: str) -> None:
        """Wait until a text is on the page."""
        wait_until(lambda: text in self.text(), f"the text {text!r}")

    def messages(self) -> list[str]:
        """Give the warnings and errors of the console since the last call.

        The browser itself reports an answer with an error status there. A test that expects such an
        answer ignores this line.
        """
        return [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]  # selenium has no type for it

    def requested_hosts(self) -> set[str]:
        """Give the host and port of each request since the last call."""
        hosts = set()
        for entry in self.driver.get_log("performance"):  # type: ignore[no-untyped-call]  # selenium has no type for it
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = urlsplit(message["params"]["request"]["url"])
                if url.scheme not in ("data", "blob"):
                    hosts.add(url.netloc)
        return hosts

    def accessibility_findings(self, *rules: str) -> list[str]:
        """Let axe-core check the page. Gives one line for each element that breaks a rule.

        `rules` are the ids of the rules that are checked. By default these are all rules.
        """
        options: dict[str, Any] = {"resultTypes": ["violations"]}
        if rules:
            options["runOnly"] = {"type": "rule", "values": rules}
        self.driver.execute_script(_AXE.read_text(encoding="utf-8"))
        found: dict[str, Any] = self.driver.execute_async_script(
            "axe.run(arguments[0]).then(arguments[arguments.length - 1])", options
        )
        return [
            f"{rule['id']}: {node['html']}: {node['failureSummary']}"
            for rule in found["violations"]
            for node in rule["nodes"]
        ]

    def use_scheme(self, scheme: str) -> None:
        """Prefer `light` or `dark` colours from now on, and show no transition between them."""
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def use_width(self, width: int, height: int = 900) -> None:
        """Show pages in a window of this size, in pixels."""
        self.driver.set_window_size(width, height)

    def allow_scripts(self, *, allowed: bool) -> None:
        """Run the scripts of pages from now on, or run none of them."""
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not allowed})

    def overflow_px(self) -> int:
        """Tell by how many pixels the page is wider than its window."""
        root = "document.documentElement"
        return int(self.driver.execute_script(f"return {root}.scrollWidth - {root}.clientWidth"))

    def forget(self) -> None:
        """Forget cookies, messages and requests, and leave the page."""
        self.allow_scripts(allowed=True)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        self.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        self.open("about:blank")
        self.messages()
        self.requested_hosts()


@contextmanager
def browsing(program: Program) -> Iterator[Browser]:
    """Run a browser until the block ends. Skips the test where there is no Chromium."""
    driver_path = program("chromedriver", "chromium-driver")
    options = Options()
    options.binary_location = program("chromium", "chromium")
    options.add_argument("--headless=new")
    options.add_argument("--window-size=1280,900")
    options.add_argument("--disable-dev-shm-usage")
    # The browser itself asks no other host either, so a request elsewhere is one of the page.
    options.add_argument("--disable-background-networking")
    options.add_argument("--disable-component-update")
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "WARNING", "performance": "ALL"})
    service = Service(executable_path=driver_path, log_output=os.devnull)
    driver = webdriver.Chrome(options=options, service=service)
    try:
        driver.set_page_load_timeout(PAGE_LOAD_MAX_S)
        driver.set_script_timeout(PAGE_LOAD_MAX_S)
        yield Browser(driver)
    finally:
        driver.quit()


def save_page(browser: Browser, file: Path) -> None:
    """Save the whole page as a picture, also what is below the window."""
    height = browser.driver.execute_script("return document.documentElement.scrollHeight")
    width = browser.driver.get_window_size()["width"]
    browser.use_width(width, height + 150)
    file.write_bytes(browser.driver.get_screenshot_as_png())
