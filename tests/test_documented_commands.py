"""Every command of every page is run as it is printed, or the table NOT_RUN says why it is not."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.pages import BY_PATH, PAGES, commands
from tests.support.ports import free_port
from tests.support.programs import Program
from tests.support.running import REPOSITORY, Server
from tests.support.waiting import wait_until

PRINTED_ADDRESS = "127.0.0.1:8000"
# The drill of a restore serves the restored database beside the service.
SECOND_ADDRESS = "127.0.0.1:8001"
DATA = "/var/lib/orderapi"

FRESH_SYSTEM = "only a fresh system may be changed like this; `make test-deploy` does the same"
AWS = "it needs an AWS account"
OTHER_MACHINES = "it needs another machine, which is reached over the network"
DOMAIN_NAME = "it needs a domain name; tests/deploy/test_nginx_tls.py tests the result"
BY_HAND = "it shows to a person what other commands change; nothing depends on it"
OWN_TEST = "tests/client runs it, with a port and a secret of its own"
IN_ITSELF = "it runs these tests, and others, for minutes"
MINUTES = "it installs or measures for minutes; its options are checked in test_documentation.py"

# The beginning of a command, and the reason why it is not run here.
NOT_RUN = {
    "README.md": {
        "git clone": "it needs the address of a repository; the tests use this copy",
    },
    "deploy/README.md": {
        "sudo deploy/install.sh": FRESH_SYSTEM,
        "sudo orderapi": FRESH_SYSTEM,
        "sudo /opt/orderapi/current/deploy/install.sh": FRESH_SYSTEM,
        "sudo install": FRESH_SYSTEM,
        "sudo sh -c 'rm": FRESH_SYSTEM,
        "sudo systemctl": FRESH_SYSTEM,
        "systemctl status": BY_HAND,
        "sudo journalctl": BY_HAND,
        "sudo grep": BY_HAND,
        "curl -s http://127.0.0.1/readyz": FRESH_SYSTEM,
        "curl -s http://127.0.0.1:9108/metrics": FRESH_SYSTEM,
        "tar -xf orderapi.tar.gz": FRESH_SYSTEM,
        "cd orderapi": FRESH_SYSTEM,
        "aws ": AWS,
        "bucket=": AWS,
        "chmod 400 orderapi.pem": AWS,
        "git archive": "it needs the git repository, and not only its files",
        "ssh ": OTHER_MACHINES,
        "scp ": OTHER_MACHINES,
        "curl -i http://ADDRESS/readyz": OTHER_MACHINES,
        "sudo cat /root": AWS,
        "sudo rm /root": AWS,
        "read -rs token": DOMAIN_NAME,
        "printf 'Authorization: Bearer %s' \"$token\"": DOMAIN_NAME,
        "(umask 077": FRESH_SYSTEM,
        "printf 'Authorization: Bearer %s' \"$(cat": FRESH_SYSTEM,
        "name=": DOMAIN_NAME,
        "sudo apt-get install --yes certbot": DOMAIN_NAME,
        "sudo certbot": DOMAIN_NAME,
        "sudo apt-get install --yes postgresql": FRESH_SYSTEM,
        "sudo -u postgres": FRESH_SYSTEM,
        "sudo touch": FRESH_SYSTEM,
        "sudo rm /etc/nginx": FRESH_SYSTEM,
        "sed ": DOMAIN_NAME,
        "sudo nginx -t": DOMAIN_NAME,
        "sudo sed": DOMAIN_NAME,
        "pip-audit": "it needs lists of known weaknesses on other machines",
    },
    "deploy/postgres/README.md": {
        "export PGPASSWORD": FRESH_SYSTEM,
        "export OWNER_URL": FRESH_SYSTEM,
        ".venv/bin/orderapi migrate": FRESH_SYSTEM,
        "psql": FRESH_SYSTEM,
        "ORDERAPI_DATABASE_URL=": "these are lines of a file",
        "PGPASSWORD=": "these are lines of a file",
        "sudo ": FRESH_SYSTEM,
    },
    "orderapi/client/README.md": {
        "export WEBHOOK_SECRET": OWN_TEST,
        ".venv/bin/flask": OWN_TEST,
    },
    "tests/README.md": {
        "make ": IN_ITSELF,
        ".venv/bin/pytest": IN_ITSELF,
    },
    "tests/bench/README.md": {
        "make bench": MINUTES,
    },
}

# What the answers to the first page's commands show, block by block.
SIX_STEPS = [
    r"HTTP/1.1 201 .*\"status\":\"created\".*\"next_cursor\":null",
    r"HTTP/1.1 201 .*\n1\n1\n",
    r"HTTP/1.1 201 .*Idempotent-Replayed: true.*\n1\n1\n",
    r"HTTP/1.1 409 .*/problems/idempotency-key-reused.*\n1\n1\n",
    r"HTTP/1.1 500 .*/problems/simulated-failure.*\|cust2\|2\n",
    r"HTTP/1.1 201 .*\"customer_id\":\"cust2\".*\|cust2\|2\n$",
    r"\"customer_id\":\"cust1\".*public\|test-123\|.*public\|test-fail-1\|",
    r"verified: 8 ok",
]


@dataclass
class Checkout:
    """A directory that looks like the repository, with a database of its own."""

    directory: Path
    # The texts of a page that are different here, and what stands in their place.
    instead: dict[str, str] = field(default_factory=dict)

    def run(self, script: str) -> str:
        """Run a script in a shell that ends at the first failure, and give what it printed."""
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", self._here(script)],
            cwd=self.directory,
            env=self._environ(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}"
        return done.stdout

    @contextmanager
    def running(self, script: str, ready: str) -> Iterator[None]:
        """Run a script that serves until SIGTERM; `ready` is what it prints when it serves."""
        output = self.directory / "output"
        with output.open("w") as file:
            process = subprocess.Popen(
                ["bash", "-eu", "-c", self._here(script)],
                cwd=self.directory,
                env=self._environ(),
                stdout=file,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        try:
            wait_until(
                lambda: ready in output.read_text() or process.poll() is not None, timeout_s=90
            )
            assert process.poll() is None, output.read_text()
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)

    def _here(self, script: str) -> str:
        for printed, here in self.instead.items():
            script = script.replace(printed, here)
        return script

    def _environ(self) -> dict[str, str]:
        environ = {k: v for k, v in os.environ.items() if not k.startswith("ORDERAPI_")}
        bind = self.instead.get(PRINTED_ADDRESS, PRINTED_ADDRESS)
        return environ | {"NO_PROXY": "127.0.0.1", "ORDERAPI_BIND": bind}


@pytest.fixture
def checkout(tmp_path: Path, program: Program) -> Checkout:
    """A checkout in which nothing is installed again, and a machine with curl and sqlite3."""
    for name in ("curl", "sqlite3", "make"):
        program(name, name)
    directory = tmp_path / "orderapi"
    directory.mkdir()
    names = ("orderapi", "deploy", "tests", "wsgi.py", "Makefile", "setup.cfg", "pyproject.toml")
    for name in (*names, ".venv"):
        (directory / name).symlink_to(REPOSITORY / name)
    return Checkout(directory, {PRINTED_ADDRESS: f"127.0.0.1:{free_port()}"})


def scripts(path: str) -> list[str]:
    """Give the blocks of shell of a page, without what is not run; empty ones are left out."""
    reasons = NOT_RUN.get(path, {})
    blocks = [
        "\n".join(command for command in commands(block) if not command.startswith(tuple(reasons)))
        for block in BY_PATH[path].blocks("bash")
    ]
    return [block for block in blocks if block]


def test_every_page_with_commands_has_a_test() -> None:
    with_commands = {page.path for page in PAGES if scripts(page.path)}
    assert with_commands == {
        "README.md",
        "deploy/README.md",
        "orderapi/client/README.md",
        "tests/README.md",
    }


def test_every_reason_is_for_a_command_that_a_page_has() -> None:
    for path, reasons in NOT_RUN.items():
        printed = [command for block in BY_PATH[path].blocks("bash") for command in commands(block)]
        for beginning in reasons:
            assert any(command.startswith(beginning) for command in printed), beginning


def test_the_commands_of_the_first_page_run_as_printed(checkout: Checkout) -> None:
    serve, *steps = scripts("README.md")
    assert serve == "make run"
    assert len(steps) == len(SIX_STEPS)
    with checkout.running(serve, ready="Booting worker"):
        for step, expected in zip(steps, SIX_STEPS, strict=True):
            # Where the page has a placeholder, the reader puts the id of the first order.
            if "<order_id>" in step:
                checkout.instead["<order_id>"] = first_order_id(checkout)
            assert re.search(expected, checkout.run(step), re.S), expected


def first_order_id(checkout: Checkout) -> str:
    return checkout.run("sqlite3 orders.db 'SELECT MIN(order_id) FROM orders'").strip()


def test_the_commands_of_the_operators_page_run_as_printed(checkout: Checkout) -> None:
    install, tokens, look, key_hash, metrics, audit, backup, restore, lost, drill, relay = scripts(
        "deploy/README.md"
    )
    make_install, _, start = install.partition("\n")
    checkout.run(make_install)
    checkout.instead[DATA] = str(checkout.directory)
    with checkout.running(start, ready="Booting worker"):
        checkout.run(order("before"))
        assert "token 2 is revoked" in checkout.run(tokens)
        assert checkout.run(look).startswith("1\n1\n")
        digest = checkout.run(key_hash).strip()
        assert re.fullmatch(r"[0-9a-f]{12}", digest)
        assert "orderapi_events_total 1.0" in checkout.run(metrics)
        assert "audited 1 order: nothing breaks an invariant" in checkout.run(audit)
        assert "the backup is backups/orders-" in checkout.run(backup)
        checkout.run(order("after"))
    with checkout.running(relay, ready="the next event to deliver is event 1"):
        pass
    assert "gone: 1 order" in checkout.run(restore)
    assert "cust1" in checkout.run(lost)
    checkout.instead[SECOND_ADDRESS] = f"127.0.0.1:{free_port()}"
    assert '"orders":[{"order_id"' in checkout.run(drill)
    assert not list(checkout.directory.glob("drill.db*"))


def order(key: str) -> str:
    """Write a request that reports a failure by its exit code."""
    return (
        f"curl --fail-with-body --retry 5 --retry-connrefused -s http://{PRINTED_ADDRESS}/orders"
        f" -H 'Content-Type: application/json' -H 'Idempotency-Key: {key}'"
        """ -d '{"customer_id":"cust1","item_id":"item1","quantity":1}'"""
    )


def test_the_commands_of_the_client_page_run_as_printed(checkout: Checkout, server: Server) -> None:
    checkout.instead[PRINTED_ADDRESS] = f"127.0.0.1:{server.port}"
    with_curl, events = scripts("orderapi/client/README.md")
    for number in range(2):
        server.order(f"key-{number}")
    assert checkout.run(with_curl) == "201\n"
    assert (checkout.directory / "order.json").read_bytes().startswith(b'{"order_id":')
    # The second command waits for event 3, which is there already.
    assert checkout.run(events).count('"next":3}') == 2


def test_the_commands_of_the_tests_page_run_as_printed(checkout: Checkout) -> None:
    (print_the_map,) = scripts("tests/README.md")
    printed = checkout.run(print_the_map)
    assert printed.strip() in BY_PATH["tests/README.md"].text
