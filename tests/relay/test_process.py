"""The relay as operators run it: stops, two relays at once, wrong use, secrets in its output."""

import json
import signal
import subprocess
import sys
import threading
import time
from base64 import b64encode
from contextlib import closing
from pathlib import Path

import pytest

from orderapi.store.open import open_store
from tests.support.engines import Engine
from tests.support.front import run
from tests.support.placing import place
from tests.support.ports import free_port
from tests.support.relay_receiver import (
    IMPATIENT,
    ORDERAPI,
    RESET_MID_BODY,
    SECRET,
    TAKE,
    Behaviour,
    RelayProcess,
    position,
    receiving,
    relaying,
    status,
)
from tests.support.running import REPOSITORY, Server
from tests.support.waiting import wait_until

# The command.


def test_once_delivers_the_existing_events_and_ends(backlog: Engine) -> None:
    with receiving() as receiver:
        relay = RelayProcess(backlog, receiver.url, ORDERAPI)
        assert relay.run("--once") == 0
        assert relay.run("--once") == 0
        assert receiver.sequences() == [1, 2, 3]
        assert relay.run("--once", "--from", "2") == 0
        assert receiver.sequences() == [1, 2, 3, 2, 3]
        assert receiver.refused == []
    messages = [line["message"] for line in relay.log_lines()]
    assert [m for m in messages if m.startswith("delivered")] == [
        "delivered 3 events",
        "delivered 0 events",
        "delivered 2 events",
    ]


def test_once_exits_with_1_when_it_cannot_deliver_all(backlog: Engine) -> None:
    def behave(number: int) -> Behaviour:
        return TAKE if number == 1 else status(500)

    with receiving(behave) as receiver:
        relay = RelayProcess(backlog, receiver.url)
        assert relay.run("--once", "--total", "30") == 1
        assert position(backlog) == 1
        receiver.behave = lambda _: TAKE
        assert relay.run("--once") == 0
        assert receiver.taken() == [1, 2, 3]


def test_a_running_relay_delivers_new_orders_of_a_server(server: Server) -> None:
    with receiving() as receiver, relaying(server.engine, receiver.url, command=ORDERAPI):
        ids = [server.order(f"key-{number}").json["order_id"] for number in range(20)]
        wait_until(lambda: len(receiver.arrivals) == 20)
        assert [arrival.event["subject"] for arrival in receiver.arrivals] == ids


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_records_the_delivery_in_flight(backlog: Engine, ending: signal.Signals) -> None:
    """The signal arrives after the receiver got the event and before it answers."""
    has_arrived, may_answer = threading.Event(), threading.Event()

    def behave(_: int) -> Behaviour:
        has_arrived.set()
        may_answer.wait(10)
        return TAKE

    with receiving(behave) as receiver, relaying(backlog, receiver.url, command=ORDERAPI) as relay:
        assert has_arrived.wait(20)
        assert relay.process is not None
        relay.process.send_signal(ending)
        may_answer.set()
        assert relay.wait() == 0
        assert receiver.sequences() == [1]
        assert position(backlog) == 1


def test_a_stop_ends_a_long_pause(backlog: Engine) -> None:
    with (
        receiving(lambda _: status(503, Retry_After="3000")) as receiver,
        relaying(backlog, receiver.url, command=ORDERAPI) as relay,
    ):
        relay.wait_for_log("was not delivered")
        assert relay.stop() == 0
        assert len(receiver.arrivals) == 1
        (blocked,) = [line for line in relay.log_lines() if line["level"] == "WARNING"]
        assert blocked["next_attempt_s"] == 3000


def test_a_receiver_that_answers_410_ends_the_relay_with_exit_code_3(backlog: Engine) -> None:
    with receiving(lambda _: status(410)) as receiver:
        relay = RelayProcess(backlog, receiver.url, ORDERAPI)
        assert relay.run() == 3
        assert len(receiver.arrivals) == 1
    last = relay.log_lines()[-1]
    assert last["level"] == "CRITICAL"
    assert "410 Gone" in last["message"]
    unit = (REPOSITORY / "deploy/systemd/orderapi-relay.service").read_text()
    assert "\nRestartPreventExitStatus=3\n" in unit


def test_a_relay_that_was_suspended_continues(backlog: Engine) -> None:
    """A debugger does this, and so does a container that is paused."""
    with receiving() as receiver, relaying(backlog, receiver.url) as relay:
        wait_until(lambda: position(backlog) == 3)
        assert relay.process is not None
        for _ in range(3):
            relay.process.send_signal(signal.SIGSTOP)
            time.sleep(0.7)
            relay.process.send_signal(signal.SIGCONT)
            time.sleep(0.3)
        with closing(open_store(backlog.url)) as store:
            place(store, "afterwards")
        wait_until(lambda: position(backlog) == 4)
        assert relay.stop() == 0


# Two relays at once.


def test_a_second_relay_waits_and_takes_over(backlog: Engine) -> None:
    with receiving() as receiver, relaying(backlog, receiver.url, command=ORDERAPI) as first:
        wait_until(lambda: receiver.sequences() == [1, 2, 3])
        with relaying(backlog, receiver.url, command=ORDERAPI) as second:
            second.wait_for_log("another relay delivers")
            assert RelayProcess(backlog, receiver.url, ORDERAPI).run("--once") == 1
            with closing(open_store(backlog.url)) as store:
                place(store, "while both run")
                wait_until(lambda: position(backlog) == 4)
                first.kill()
                place(store, "after the first")
            wait_until(lambda: position(backlog) == 5)
            assert second.stop() == 0
        assert receiver.sequences() == [1, 2, 3, 4, 5]


def test_a_relay_that_waits_for_another_can_be_stopped(backlog: Engine) -> None:
    with closing(open_store(backlog.url)) as store, receiving() as receiver:
        assert store.lease("relay")
        with relaying(backlog, receiver.url) as relay:
            relay.wait_for_log("another relay delivers")
            assert relay.stop() == 0
        assert receiver.arrivals == []


def test_only_one_relay_has_the_right_to_deliver_until_it_ends(backlog: Engine) -> None:
    with closing(open_store(backlog.url)) as second:
        with closing(open_store(backlog.url)) as first:
            assert first.lease("relay")
            assert first.lease("relay")
            assert not second.lease("relay")
            # The right to deliver does not prevent others from writing.
            place(second, "meanwhile")
        assert second.lease("relay")


@pytest.mark.sqlite_only("only a database in a file has a lock file")
def test_a_relay_whose_lock_file_was_deleted_ends_when_another_one_delivers(
    backlog: Engine, tmp_path: Path
) -> None:
    with receiving() as receiver, relaying(backlog, receiver.url, command=ORDERAPI) as first:
        wait_until(lambda: position(backlog) == 3)
        assert first.process is not None
        # Otherwise the first one might lock the new file before the second one starts.
        first.process.send_signal(signal.SIGSTOP)
        (tmp_path / "orders.db-relay-lock").unlink()
        with relaying(backlog, receiver.url, command=ORDERAPI) as second:
            second.wait_for_log("the relay starts")
            first.process.send_signal(signal.SIGCONT)
            with closing(open_store(backlog.url)) as store:
                place(store, "while both run")
            wait_until(lambda: position(backlog) == 4)
            assert first.wait() == 1
            assert "another relay delivers now" in first.log()
            assert second.stop() == 0
        assert receiver.sequences() == [1, 2, 3, 4]


# Secrets.


def test_no_secret_is_ever_shown(backlog: Engine) -> None:
    """This holds at log level `debug` and for every kind of answer."""

    def behave(number: int) -> Behaviour:
        kinds = [status(500), RESET_MID_BODY, status(301, Location="/x"), receiver.silence()]
        return kinds[number] if number < len(kinds) else TAKE

    with receiving(behave) as receiver:
        url = receiver.url.replace("//", "//bob:hunter2@") + "/pa-th?token=sesame"
        with relaying(backlog, url, command=IMPATIENT, ORDERAPI_LOG_LEVEL="debug") as relay:
            assert relay.process is not None
            process = Path(f"/proc/{relay.process.pid}")
            wait_until(lambda: len(receiver.taken()) == 3)
            shown = (process / "cmdline").read_bytes().decode()
            assert relay.stop() == 0
        shown += relay.log()
        dead = RelayProcess(backlog, url.replace(receiver.url.rpartition(":")[2], str(free_port())))
        assert dead.run("--once", "--from", "1") == 1
        shown += dead.log()
    assert "receiver is at http://127.0.0.1:" in shown
    assert "Connection refused" in shown
    signatures = [arrival.headers["webhook-signature"] for arrival in receiver.arrivals]
    userinfo = b64encode(b"bob:hunter2").decode()
    secret = SECRET.removeprefix("whsec_")
    for hidden in (secret, "bob", "hunter2", "sesame", "pa-th", userinfo, *signatures):
        assert hidden not in shown


# Wrong use.


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, "WEBHOOK_URL"),
        ({"WEBHOOK_SECRET": SECRET}, "WEBHOOK_URL"),
        ({"WEBHOOK_URL": "http://127.0.0.1:1/?token=sesame"}, "WEBHOOK_SECRET"),
        ({"WEBHOOK_URL": "http://a b", "WEBHOOK_SECRET": SECRET}, "WEBHOOK_URL"),
        ({"WEBHOOK_URL": "http://h:99999", "WEBHOOK_SECRET": SECRET}, "WEBHOOK_URL"),
    ],
)
def test_a_missing_or_bad_setting_is_named_in_one_line(
    backlog: Engine, settings: dict[str, str], named: str
) -> None:
    result = run(command="relay", DATABASE_URL=backlog.url_text, **settings)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: ORDERAPI_{named}: ")
    assert result.stderr.count("\n") == 1
    assert "sesame" not in result.stderr


@pytest.mark.parametrize("sequence", ["5", "9" * 18])
def test_from_beyond_the_next_event_is_refused(backlog: Engine, sequence: str) -> None:
    relay = RelayProcess(backlog, "http://127.0.0.1:1", ORDERAPI)
    assert relay.run("--from", sequence) == 2
    assert relay.log().splitlines()[-1] == "Error: --from: expected 1 to 4"


@pytest.mark.parametrize("library", ["httpx2", "standardwebhooks"])
def test_a_missing_library_is_named_in_one_line(backlog: Engine, library: str) -> None:
    script = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "from orderapi.cli.commands import main; main(['relay'])"
    )
    relay = RelayProcess(backlog, "http://127.0.0.1:1")
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPOSITORY,
        env=relay.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"Error: the relay needs {library}, which is not installed: pip install 'orderapi[relay]'\n"
    )


def test_every_line_of_the_log_is_json(backlog: Engine) -> None:
    with receiving() as receiver, relaying(backlog, receiver.url, command=ORDERAPI) as relay:
        wait_until(lambda: len(receiver.arrivals) == 3)
        assert relay.stop() == 0
    for line in relay.log().splitlines():
        assert {"time", "level", "logger", "message"} <= json.loads(line).keys()
