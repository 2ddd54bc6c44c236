"""Thousands of random requests, most of them malformed, get one answer each."""

import random
import threading
from pathlib import Path

from tests.server.playing import check, play, random_stream
from tests.support.running import Server
from tests.support.waiting import wait_until

THREADS = 8
STREAMS_PER_THREAD = 150


def test_each_of_many_random_requests_is_answered_once_and_its_connection_is_closed(
    server: Server,
) -> None:
    before, workers = descriptors(server), server.workers()
    answered, failures = [0] * THREADS, []

    def run(number: int) -> None:
        generator = random.Random(number)
        try:
            for _ in range(STREAMS_PER_THREAD):
                stream = random_stream(generator)
                answered[number] += check(stream, play(server.port, stream, generator))
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sum(answered) > THREADS * STREAMS_PER_THREAD
    assert server.workers() == workers
    # The service may open its store for the first time meanwhile.
    wait_until(lambda: descriptors(server) <= before + 20, "connections are closed")
    assert server.stop() == 0
    assert {line["level"] for line in server.log_lines()} == {"INFO"}


def descriptors(server: Server) -> int:
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in server.workers())
