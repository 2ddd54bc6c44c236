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


@dataclass
class Box:
    """A machine, the file of its acknowledged orders, and the faults that were found."""

    machine: Machine
    acknowledged: Path
    wrong: list[str] = field(default_factory=list)

    def run(self, command: str) -> str:
        return self.machine.run(command).stdout.strip()

    def install(self, version: str, option: str = "", *, fails_with: str | None = None) -> None:
        done = self.machine.run(f"{INSTALL.format(version)} {option}", check=fails_with is None)
        if fails_with is not None:
            said = done.stderr.strip().splitlines()[-1:]
            if done.returncode != 1 or not re.search(fails_with, " ".join(said)):
                self.wrong.append(f"{version} {option}: exit {done.returncode}, {said}")

    def order(self, key: str) -> Any:
        """Place an order once, and give the JSON of the response, whatever its status is."""
        order = json.dumps({"customer_id": "cust1", "item_id": "item1", "quantity": 1})
        headers = f"-H 'Content-Type: application/json' -H 'Idempotency-Key: \"{key}\"'"
        return json.loads(self.run(f"curl -s 127.0.0.1/orders {headers} -d '{order}'"))

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
        self.expect(f"{what}: failed requests {said['failed']}", holds=may_fail or failed == 0)

    def prove(self, what: str) -> None:
        """Expect that the service serves, the audit finds nothing, and no order is missing."""
        self.wait_until_serving()
        self.run("orderapi audit")
        there = set(self.run(f'sqlite3 {DATABASE} "SELECT order_id FROM orders"').splitlines())
        promised = {line.split()[1] for line in self.acknowledged.read_text().splitlines()}
        missing = promised - there
        said = f"{len(missing)} of {len(promised):,} acknowledged orders missing, audit clean"
        print(f"  after {what}: {said}", flush=True)
        self.expect(f"{what}: {len(missing)} orders missing", holds=not missing)
