"""A machine with the service, and the orders that it has acknowledged to clients."""

import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.deploy.drill import load
from tests.deploy.drill.machine import Machine

DATABASE = "/var/lib/orderapi/orders.db"
ENV_FILE = "/etc/orderapi/orderapi.env"
# It retries until the service answers with success.
PATIENT_CURL = "curl -sf --retry 60 --retry-all-errors --retry-delay 1"
INSTALL = "/root/{}/deploy/install.sh"
# Only root can read these files of the machine.
TOKEN_FILE = "/root/token"
_HEADER_FILE = "/root/authorization"


@dataclass
class Box:
    """A machine, the file of its acknowledged orders, and the faults that were found."""

    machine: Machine
    acknowledged: Path
    wrong: list[str] = field(default_factory=list)
    _token: str | None = None
    _query: str = f"sqlite3 {DATABASE}"

    @property
    def has_token(self) -> bool:
        return self._token is not None

    def use(self, token: str | None) -> None:
        """Send this token with every request from now on, or none.

        The token is in two files of the machine, for the commands that run there.
        """
        self._token = token
        for name, text in ((TOKEN_FILE, token), (_HEADER_FILE, f"Authorization: Bearer {token}")):
            file = Path(f"{self.machine.root}{name}")
            file.write_text("" if token is None else f"{text}\n")
            file.chmod(0o600)

    def use_again(self) -> None:
        """Write the files of the token again, after they were lost with the power."""
        self.use(self._token)
        self.run(f"sync {TOKEN_FILE} {_HEADER_FILE}")

    def run(self, command: str) -> str:
        return self.machine.run(command).stdout.strip()

    def install(self, version: str, option: str = "", *, fails_with: str | None = None) -> str:
        """Run install.sh, and give what it said on stdout."""
        done = self.machine.run(f"{INSTALL.format(version)} {option}", check=fails_with is None)
        if fails_with is not None:
            said = done.stderr.strip().splitlines()[-1:]
            if done.returncode != 1 or not re.search(fails_with, " ".join(said)):
                self.wrong.append(f"{version} {option}: exit {done.returncode}, {said}")
        return done.stdout

    def order(self, key: str) -> Any:
        """Place an order once, and give the JSON of the response, whatever its status is."""
        order = json.dumps({"customer_id": "cust1", "item_id": "item1", "quantity": 1})
        headers = f"-H 'Content-Type: application/json' -H 'Idempotency-Key: \"{key}\"'"
        return json.loads(self.run(f"{self._curl} 127.0.0.1/orders {headers} -d '{order}'"))

    def show(self, order_id: str) -> Any:
        """Get an order once, and give the JSON of the response."""
        return json.loads(self.run(f"{self._curl} 127.0.0.1/orders/{order_id}"))

    def verify(self) -> str:
        """Verify the service, and give the summary."""
        given = f"--token-file - <{TOKEN_FILE}" if self.has_token else ""
        return self.run(f"set -o pipefail; orderapi verify {given} | tail -n 1")

    def query_with(self, command: str) -> None:
        """Query the database with this command from now on; its last argument is the statement."""
        self._query = command

    @property
    def _curl(self) -> str:
        return f"curl -s -H @{_HEADER_FILE}" if self.has_token else "curl -s"

    def wait_until_serving(self) -> None:
        self.run(f"{PATIENT_CURL} 127.0.0.1/readyz")

    def expect(self, what: str, *, holds: bool) -> None:
        if not holds:
            self.wrong.append(what)

    @contextmanager
    def under_load(self, what: str, *, may_fail: bool = False) -> Iterator[None]:
        """Run the body while clients place orders, and print a row with their counts."""
        with tempfile.TemporaryFile() as report:
            clients = self.machine.popen(
                sys.executable, load.__file__, "127.0.0.1:80", str(self.acknowledged), stdout=report
            )
            assert clients.stdin is not None
            clients.stdin.write(f"{self._token or ''}\n".encode())
            clients.stdin.flush()
            try:
                time.sleep(1)
                yield
                time.sleep(1)
            finally:
                clients.communicate()
            report.seek(0)
            said = json.load(report)
        failed = sum(said["failed"].values())
        asked = said["answered"] + failed
        print(f"{what:44} {asked:>9,} {failed:>7,}   slowest {said['slowest_s']:.1f} s", flush=True)
        if failed and not may_fail:
            print(f"  reasons in the log: {self._last_reasons()}", flush=True)
        self.expect(f"{what}: failed requests {said['failed']}", holds=may_fail or failed == 0)

    def _last_reasons(self) -> str:
        """Give the most frequent reasons in the last log lines, for the reader of the output."""
        log = "journalctl --unit=orderapi --output=cat --lines=20000"
        count = "sort | uniq --count | sort --reverse --numeric-sort | head -n 3"
        return self.run(f'{log} | grep --only-matching \'"reason": *"[^"]*"\' | {count}')

    def prove(self, what: str) -> None:
        """Expect that the service serves, the audit finds nothing, and no order is missing."""
        self.wait_until_serving()
        self.run("orderapi audit")
        there = set(self.run(f'{self._query} "SELECT order_id FROM orders"').splitlines())
        promised = {line.split()[1] for line in self.acknowledged.read_text().splitlines()}
        missing = promised - there
        said = f"{len(missing)} of {len(promised):,} acknowledged orders missing, audit clean"
        print(f"  after {what}: {said}", flush=True)
        self.expect(f"{what}: {len(missing)} orders missing", holds=not missing)
