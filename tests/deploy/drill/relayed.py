"""The relay, on a box: run where a URL is set, through upgrades, until its receiver is gone."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.deploy.drill import receiver
from tests.deploy.drill.box import DATABASE, Box

PORT = 9000
ENV_FILE = "/etc/orderapi/orderapi.env"
URL = f"ORDERAPI_WEBHOOK_URL=http://127.0.0.1:{PORT}/"
SECRET = f"ORDERAPI_WEBHOOK_SECRET={receiver.SECRET}"
DELIVERED_WITHIN_S = 60.0


class Receiver:
    """What its receiver has taken, and how it answers."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "taken").touch()
        self.answer(204)

    def answer(self, status: int) -> None:
        (self.directory / "answer.new").write_text(str(status))
        (self.directory / "answer.new").rename(self.directory / "answer")

    def taken(self) -> list[str]:
        return (self.directory / "taken").read_text().splitlines()


def tell(box: Box) -> None:
    """Take the relay through it; leaves release 1.0 without one."""
    print("\nthe relay")
    with _receiving(box) as there:
        _turned_on(box, there)
        _replaced(box, there)
        _gone(box, there)
        _without(box, there)
    _turned_off(box)


@contextmanager
def _receiving(box: Box) -> Iterator[Receiver]:
    with tempfile.TemporaryDirectory() as made:
        there = Receiver(Path(made))
        program = (sys.executable, receiver.__file__, str(PORT), made)
        process = box.machine.popen(*program, stdout=subprocess.DEVNULL)
        try:
            yield there
        finally:
            process.kill()
            process.wait()


def _turned_on(box: Box, there: Receiver) -> None:
    box.expect("a relay without a URL", holds=_relay(box) == ("disabled", "inactive"))
    box.run(f"echo '{URL}' >> {ENV_FILE}")
    box.install("1.0")
    box.expect("a relay without a secret", holds=_relay(box) == ("disabled", "inactive"))
    box.run(f"echo '{SECRET}' >> {ENV_FILE}")
    # What was ordered before is no concern of this receiver.
    box.run(
        f"orderapi relay --once --from $(sqlite3 {DATABASE} 'SELECT MAX(sequence) FROM events')"
    )
    box.install("1.0")
    _expect_delivery(box, there, "with a URL")


def _replaced(box: Box, there: Receiver) -> None:
    box.install("1.1", "--upgrade")
    _expect_delivery(box, there, "after an upgrade")
    box.install("1.1", "--rollback")
    _expect_delivery(box, there, "after a rollback")


def _gone(box: Box, there: Receiver) -> None:
    there.answer(410)
    waits = _order(box)
    has_failed = "until systemctl --quiet is-failed orderapi-relay; do sleep 0.2; done"
    box.run(f"timeout 60 bash -c '{has_failed}'")
    metrics = box.run("curl -s 127.0.0.1:9108/metrics")
    why = 'orderapi_relay_blocked_since_timestamp_seconds{reason="HTTP 410"}'
    box.expect(f"metrics without {why}", holds=f"\n{why}" in metrics)
    there.answer(204)
    # Twice as long as systemd waits before it starts one that may be started again.
    time.sleep(10)
    box.expect("started after a 410", holds=_relay(box) == ("enabled", "failed"))
    box.install("1.1", "--upgrade")
    box.expect("started by an upgrade after a 410", holds=_relay(box) == ("enabled", "failed"))
    box.run("systemctl start orderapi-relay")
    _expect_delivery(box, there, "after a 410, and started again", also=waits)


def _without(box: Box, there: Receiver) -> None:
    """Pass through a release from before there was a relay."""
    box.install("1.2", "--upgrade")
    waits = _order(box)
    box.expect("a relay of an older release", holds=_relay(box) == ("not-found", "inactive"))
    box.install("1.2", "--rollback")
    _expect_delivery(box, there, "after a release without a relay", also=waits)


def _turned_off(box: Box) -> None:
    box.run(f"sed -i '/^ORDERAPI_WEBHOOK/d' {ENV_FILE}")
    box.install("1.0", "--upgrade")
    box.expect("a relay without its URL", holds=_relay(box) == ("disabled", "inactive"))


def _expect_delivery(box: Box, there: Receiver, when: str, also: str | None = None) -> None:
    """Hold that the installed release's relay delivers, in order, what there is and a new order."""
    expected = [*there.taken(), *([also] if also else []), _order(box)]
    give_up_at = time.monotonic() + DELIVERED_WITHIN_S
    while expected[-1] not in there.taken() and time.monotonic() < give_up_at:
        time.sleep(0.1)
    print(f"  {when}: {len(there.taken())} delivered, signed and in order", flush=True)
    box.expect(f"{when}: {there.taken()}, not {expected}", holds=there.taken() == expected)
    box.expect(f"{when}: {_relay(box)}", holds=_relay(box) == ("enabled", "active"))
    main_pid = box.run("systemctl show --property=MainPID --value orderapi-relay")
    runs = box.run(f"readlink /proc/{main_pid}/cwd")
    box.expect(f"{when}: {runs}", holds=runs == box.run("readlink -e /opt/orderapi/current"))


def _order(box: Box) -> str:
    order = json.dumps({"customer_id": "relayed", "item_id": "item1", "quantity": 1})
    key = "$(cat /proc/sys/kernel/random/uuid)"
    headers = f'-H "Content-Type: application/json" -H "Idempotency-Key: {key}"'
    answer = box.run(f"curl -sf 127.0.0.1/orders {headers} -d '{order}'")
    return str(json.loads(answer)["order_id"])


def _relay(box: Box) -> tuple[str, str]:
    """Tell whether the relay starts with the machine, and whether it runs."""
    states = (
        box.machine.run(f"systemctl {verb} orderapi-relay", check=False).stdout.strip()
        for verb in ("is-enabled", "is-active")
    )
    is_enabled, is_active = states
    return is_enabled or "not-found", is_active
