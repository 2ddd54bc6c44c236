"""Processes are killed at random moments, while clients retry."""

import http.client
import json
import os
import random
import signal
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.client_crowd import Crowd
from tests.support.engines import Engine
from tests.support.promises import promise
from tests.support.proof import assert_exactly_once
from tests.support.running import ORDER, Answer, Server, serving
from tests.support.waiting import wait_until

CLIENTS = 12
KILLING_S = 10.0


class RetryingClients:
    """Clients that retry each order until it is acknowledged, and note the answer by key."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.acknowledged: dict[str, bytes] = {}
        self.attempts = 0
        self.surprises: list[Answer] = []
        self.is_over = threading.Event()
        self.threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True)
            for number in range(CLIENTS)
        ]
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """Wait until the last order of every client is acknowledged."""
        self.is_over.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()

    def _run(self, number: int) -> None:
        turn = 0
        while not self.is_over.is_set():
            key = f"client-{number}-{turn}"
            self.acknowledged[key] = self._until_acknowledged(key)
            turn += 1

    def _until_acknowledged(self, key: str) -> bytes:
        while True:
            with suppress(OSError, http.client.HTTPException):
                self.attempts += 1
                answer = self.server.order(key, timeout_s=15)
                if answer.status == 201:
                    return answer.body
                if answer.status != 503:
                    self.surprises.append(answer)
            time.sleep(0.01)


@promise("one key, one effect")
@promise("a 201 is durable")
def test_random_kills_lose_no_order_and_make_none_twice(tmp_path: Path, engine: Engine) -> None:
    chance = random.Random(20_000)
    worker_kills = master_kills = 0
    with serving(tmp_path, engine) as server:
        clients = RetryingClients(server)
        give_up_at = time.monotonic() + KILLING_S
        while time.monotonic() < give_up_at or master_kills < 2 or worker_kills < 5:
            time.sleep(chance.uniform(0.05, 0.5))
            if chance.random() < 0.3:
                server.kill()
                server.start()
                master_kills += 1
            else:
                workers = server.workers()
                for worker in chance.sample(workers, k=min(len(workers), chance.randint(1, 2))):
                    with suppress(ProcessLookupError):
                        os.kill(worker, signal.SIGKILL)
                    worker_kills += 1
        clients.stop()
        assert clients.surprises == []
        assert master_kills >= 2
        assert worker_kills >= 5
        orders = assert_exactly_once(server.engine, clients.acknowledged)
        assert orders == len(clients.acknowledged) > 100
        assert server.stop() == 0
    assert assert_exactly_once(server.engine, clients.acknowledged) == orders


def test_the_workers_of_a_killed_master_end_and_its_port_is_free(server: Server) -> None:
    workers = server.workers()
    server.order("before")
    server.kill()
    # If the workers lived for seconds, they would write beside those of the next start.
    wait_until(
        lambda: not any(is_running(worker) for worker in workers) and is_free(server.port),
        timeout_s=1.0,
    )
    server.start()
    assert server.order("before").headers["idempotent-replayed"] == "true"


def test_a_start_waits_for_a_port_that_a_dying_process_still_has(
    tmp_path: Path, engine: Engine
) -> None:
    """A killed worker keeps its port while it waits for an fsync. A socket stands for it here."""
    server = Server(tmp_path, engine)
    with socket.socket() as dying:
        dying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        dying.bind(("127.0.0.1", server.port))
        dying.listen()
        server.start(wait=False)
        time.sleep(0.7)
        assert server.process is not None
        assert server.process.poll() is None
    server.wait_until_serving()
    assert server.order("after").status == 201
    assert server.stop() == 0


@promise("an error is not a verdict")
def test_a_retry_after_a_killed_worker_makes_or_replays_one_order(server: Server) -> None:
    """The client does not know whether its order was committed. Its retry is right in any case."""
    for number in range(6):
        key = f"dying-{number}"
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        connection.request("POST", "/orders", json.dumps(ORDER), headers)
        time.sleep(0.002 * number)
        for worker in server.workers():
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        connection.close()
        retries = [server.order(key) for _ in range(2)]
        assert {retry.status for retry in retries} == {201}
        assert retries[0].body == retries[1].body
    assert_exactly_once(server.engine, {})
    assert server.counts()["orders"] == 6


@promise("an error is not a verdict")
@promise("a replay is the same answer")
@pytest.mark.parametrize("reads", [0, 20])
def test_a_retry_after_a_lost_answer_is_a_replay(server: Server, reads: int) -> None:
    """The client closes its connection before it has read the whole answer."""
    body = json.dumps(ORDER).encode()
    head = (
        "POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nIdempotency-Key: lost-{{}}\r\n\r\n"
    )
    for number in range(10):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(head.format(number).encode() + body)
            if reads:
                connection.recv(reads)
    answers = {f"lost-{number}": server.order(f"lost-{number}") for number in range(10)}
    assert {answer.status for answer in answers.values()} == {201}
    if reads:
        assert {a.headers["idempotent-replayed"] for a in answers.values()} == {"true"}
    made = {key: answer.body for key, answer in answers.items()}
    assert assert_exactly_once(server.engine, made) == 10


def test_on_sigterm_the_requests_in_flight_are_answered(tmp_path: Path, engine: Engine) -> None:
    """The lock is held when SIGTERM arrives. The waiting requests commit after its release."""
    with serving(tmp_path, engine) as server:
        with server.engine.held():
            crowd = Crowd(server.order, 20, "in-flight").start()
            wait_until(lambda: server.accepted() >= 20)
            time.sleep(0.3)
            server.signal(signal.SIGTERM)
            time.sleep(0.2)
        crowd.join()
        assert len(crowd.created) == 20
        assert server.process is not None
        assert server.process.wait(30) == 0
        assert assert_exactly_once(server.engine, crowd.created) == 20


def test_sighup_under_load_fails_no_request(server: Server) -> None:
    before = set(server.workers())
    crowd = Crowd(server.order, 8, "reload", count=150).start()
    for _ in range(3):
        time.sleep(0.4)
        server.signal(signal.SIGHUP)
    crowd.join()
    assert crowd.refused == []
    assert assert_exactly_once(server.engine, crowd.created) == 8 * 150
    wait_until(lambda: not before & set(server.workers()))
    assert server.order("after").status == 201


@promise("one key, one effect")
def test_two_servers_on_one_database_make_each_order_once(tmp_path: Path, engine: Engine) -> None:
    """Both servers get the same keys at the same time, as in a deployment that overlaps."""
    with serving(tmp_path, engine) as old, serving(tmp_path, engine) as new:
        first = Crowd(old.order, 8, "shared", count=20).start()
        second = Crowd(new.order, 8, "shared", count=20).start()
        first.join()
        second.join()
        assert first.created == second.created
        assert assert_exactly_once(old.engine, first.created) == 160


def is_free(port: int) -> bool:
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
