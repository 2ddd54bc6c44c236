"""The relay on a machine: it is configured, upgraded, and stopped by its receiver."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from tests.deploy.drill import receiver
from tests.deploy.drill.box import DATABASE, ENV_FILE, Box

PORT = 9000
URL = f"ORDERAPI_WEBHOOK_URL=http://127.0.0.1:{PORT}/"
SECRET = f"ORDERAPI_WEBHOOK_SECRET={receiver.SECRET}"
DELIVERY_MAX_S = 60.0


class Receiver:
    """The deliveries that a receiver has accepted, and the status of its responses."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "taken").touch()
        self.answer(204)

    def answer(self, status: int) -> None:
        (self.directory / "answer.new").write_text(str(status))
        (self.directory / "answer.new").rename(self.directory / "answer")

    def taken(self) -> list[str]:
        return (self.directory / "taken").read_text().splitlines()


def run(box: Box) -> None:
    """Run the chapter. Afterwards release 1.0 is installed, and its relay is disabled."""
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
    box.expect("the relay runs without a URL", holds=_relay(box) == ("disabled", "inactive"))
    box.run(f"echo '{URL}' >> {ENV_FILE}")
    box.install("1.0")
    box.expect("the relay runs without a secret", holds=_relay(box) == ("disabled", "inactive"))
    box.run(f"echo '{SECRET}' >> {ENV_FILE}")
    # Earlier orders are not delivered to this receiver.
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
    box.expect(f"the metrics do not have {why}", holds=f"\n{why}" in metrics)
    there.answer(204)
    # This is twice the RestartSec= of the unit.
    time.sleep(10)
    box.expect("systemd started the relay after a 410", holds=_relay(box) == ("enabled", "failed"))
    box.install("1.1", "--upgrade")
    box.expect(
        "an upgrade started the relay after a 410", holds=_relay(box) == ("enabled", "failed")
    )
    box.run("systemctl start orderapi-relay")
    _expect_delivery(box, there, "after a 410, and started again", also=waits)


def _without(box: Box, there: Receiver) -> None:
    """Upgrade to a release without a relay, and return."""
    box.install("1.2", "--upgrade")
    waits = _order(box)
    box.expect("the relay of another release runs", holds=_relay(box) == ("not-found", "inactive"))
    box.install("1.2", "--rollback")
    _expect_delivery(box, there, "after a release without a relay", also=waits)


def _turned_off(box: Box) -> None:
    box.run(f"sed -i '/^ORDERAPI_WEBHOOK/d' {ENV_FILE}")
    box.install("1.0", "--upgrade")
    box.expect("the relay runs without its URL", holds=_relay(box) == ("disabled", "inactive"))


def _expect_delivery(box: Box, there: Receiver, when: str, also: str | None = None) -> None:
    """Expect that the relay of the installed release delivers all old orders and a new one."""
    expected = [*there.taken(), *([also] if also else []), _order(box)]
    give_up_at = time.monotonic() + DELIVERY_MAX_S
    while expected[-1] not in there.taken() and time.monotonic() < give_up_at:
        time.sleep(0.1)
    print(f"  {when}: {len(there.taken())} delivered, signed and in order", flush=True)
    box.expect(f"{when}: {there.taken()}, not {expected}", holds=there.taken() == expected)
    box.expect(f"{when}: {_relay(box)}", holds=_relay(box) == ("enabled", "active"))
    main_pid = box.run("systemctl show --property=MainPID --value orderapi-relay")
    runs = box.run(f"readlink /proc/{main_pid}/cwd")
    box.expect(f"{when}: {runs}", holds=runs == box.run("readlink -e /opt/orderapi/current"))


def _order(box: Box) -> str:
    """Place a new order, and give its id."""
    return str(box.order(str(uuid4()))["order_id"])


def _relay(box: Box) -> tuple[str, str]:
    """Give whether the relay is enabled, and whether it is active, in the words of systemctl."""
    states = (
        box.machine.run(f"systemctl {verb} orderapi-relay", check=False).stdout.strip()
        for verb in ("is-enabled", "is-active")
    )
    is_enabled, is_active = states
    return is_enabled or "not-found", is_active
