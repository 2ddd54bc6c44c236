"""The page `/now`."""

import time

from flask import Blueprint, render_template

from orderapi.console.chart import draw
from orderapi.console.now import RelayRate, read_now
from orderapi.store.contract import Store

# How long the script of the page waits before it requests the page again.
POLL_MS = 2_000


def blueprint(store: Store) -> Blueprint:
    """Return the page that shows what happens now in a store."""
    page = Blueprint("now", __name__)
    rate = RelayRate()

    @page.get("/now")
    def show_now() -> str:
        now = read_now(store, rate, time.time_ns() // 1_000_000)
        charts = [
            draw("Orders per minute, last hour", now.minutes, "%H:%M"),
            draw("Orders per hour, last two days", now.hours, "%a %H:%M"),
        ]
        return render_template("now.html", now=now, charts=charts, poll_ms=POLL_MS)

    return page
