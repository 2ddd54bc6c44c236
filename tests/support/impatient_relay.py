"""The relay with pauses of fractions of a second. All else is the same as in the command.

`python -m tests.support.impatient_relay [--once] [--from SEQUENCE] [--total SECONDS]`
"""

import argparse
import os
import sys
from contextlib import closing

from orderapi import logs
from orderapi.relay import service
from orderapi.relay.retry_pause import Backoff
from orderapi.relay.webhook import Receiver
from orderapi.settings import read_settings
from orderapi.store.open import open_store

BACKOFF = Backoff(first_s=0.02, pause_max_s=0.1, retry_after_max_s=0.2)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--from", dest="start_from", type=int)
    parser.add_argument("--total", type=float, default=3.0)
    arguments = parser.parse_args()
    settings = read_settings(os.environ)
    logs.configure(settings.log_level)
    receiver = Receiver(
        settings.webhook_url, settings.webhook_secret, attempt_max_s=arguments.total
    )
    with closing(open_store(settings.database_url)) as store, closing(receiver):
        return service.serve(
            store,
            receiver.send,
            once=arguments.once,
            start_from=arguments.start_from,
            backoff=BACKOFF,
        )


if __name__ == "__main__":
    sys.exit(main())
