"""The limits of systemd, nginx, gunicorn and the service fit together.

Each of these programs has its own file of settings, so none of them can check the others.
"""

import os
import re
from collections import Counter

import pytest

from orderapi.relay.webhook import ATTEMPT_MAX_S
from orderapi.server import limits
from orderapi.settings import read_settings
from orderapi.store.contract import ANSWER_MAX_S, REQUEST_TIME_S
from orderapi.web.orders import BODY_MAX_BYTES
from orderapi.web.schemas.events import WAIT_MAX_S
from tests.support.running import REPOSITORY

# nginx closes an idle connection to an upstream after this time, unless a setting says otherwise.
NGINX_KEEPALIVE_S = 60
# The hosts of one machine, and those of several machines.
HOSTS = ("deploy/nginx/orderapi/hosts.conf", "deploy/postgres/hosts.conf")


def number_in(file: str, pattern: str) -> int:
    """Give the number in the only match of a pattern in a file of the deployment."""
    (found,) = re.findall(pattern, (REPOSITORY / "deploy" / file).read_text(), re.MULTILINE)
    return int(found)


def graceful_timeout_s() -> int:
    return number_in("gunicorn.conf.py", r"^graceful_timeout = (\d+)$")


def test_requests_in_flight_are_answered_before_gunicorn_ends_a_stop() -> None:
    assert graceful_timeout_s() > ANSWER_MAX_S


def test_gunicorn_ends_a_stop_before_systemd_kills_it() -> None:
    assert number_in("systemd/orderapi.service", r"^TimeoutStopSec=(\d+)$") > graceful_timeout_s()


def test_the_relay_ends_a_stop_before_systemd_kills_it() -> None:
    """A stop waits for an attempt, for the record of it, and for the store to close."""
    stop_max_s = number_in("systemd/orderapi-relay.service", r"^TimeoutStopSec=(\d+)$")
    assert stop_max_s > ATTEMPT_MAX_S + 2 * REQUEST_TIME_S


def test_nginx_waits_for_the_longest_poll() -> None:
    timeout_s = number_in("nginx/orderapi/proxy.conf", r"^proxy_read_timeout (\d+)s;$")
    assert timeout_s >= WAIT_MAX_S + ANSWER_MAX_S


def test_nginx_closes_an_idle_connection_before_the_service_does() -> None:
    for path in HOSTS:
        assert "keepalive_timeout" not in (REPOSITORY / path).read_text()
    assert limits.IDLE_MAX_S > NGINX_KEEPALIVE_S


def test_nginx_sends_every_body_to_the_service_that_the_service_accepts() -> None:
    size_kib = number_in("nginx/orderapi/server.conf", r"^client_max_body_size (\d+)k;$")
    assert size_kib * 1024 > BODY_MAX_BYTES
    assert size_kib == number_in("nginx/orderapi/server.conf", r"^client_body_buffer_size (\d+)k;$")


@pytest.mark.parametrize("path", HOSTS)
def test_a_request_survives_the_death_of_each_worker_in_turn(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nginx makes one attempt more than there are workers by default. One reaches a live worker."""
    # With many cores, the default number of workers is the greatest one.
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64))
    text = (REPOSITORY / path).read_text()
    (upstream,) = re.findall(r"^upstream orderapi_again \{(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    attempts = Counter(re.findall(r"^    server (\S+) max_fails=0;$", upstream, re.MULTILINE))
    assert min(attempts.values()) > read_settings({}).workers
