"""Starts and installations that are refused: the reason is one line, and nothing changes."""

import json
import re

from tests.deploy.drill.box import DATABASE, ENV_FILE, INSTALL, PATIENT_CURL, Box


def run(box: Box) -> None:
    """Run the chapter. A refused start has one line in the journal, with the reason."""
    newer = "INSERT INTO schema_migrations VALUES (99, 99)"
    cases = {
        "a bad setting": (
            f"echo ORDERAPI_WORKERS=many >> {ENV_FILE}",
            f"sed -i '$d' {ENV_FILE}",
            "cannot start: ORDERAPI_WORKERS: .*'many'",
        ),
        "a newer database": (
            f'sqlite3 {DATABASE} "{newer}"',
            f'sqlite3 {DATABASE} "DELETE FROM schema_migrations WHERE number = 99"',
            "cannot start: ORDERAPI_DATABASE_URL: the database has schema 99,"
            " which needs a release that knows schema 99",
        ),
    }
    print()
    for what, (spoil, mend, expected) in cases.items():
        since = box.run("date +@%s.%N")
        box.machine.run(f"{spoil}; systemctl restart orderapi", check=False)
        journal = f"journalctl --unit=orderapi --output=cat --since={since}"
        first = f"until {journal} | grep --max-count=1 CRITICAL; do sleep 0.2; done"
        message = json.loads(box.run(f"timeout 60 bash -c '{first}'"))["message"]
        box.run(mend)
        print(f"{what}: {message}")
        box.expect(f"{what}: {message}", holds=re.match(expected, message) is not None)
        box.wait_until_serving()
    _full_disk(box)
    _taken_port(box)
    _taken_socket(box)
    _old_settings(box)


def _full_disk(box: Box) -> None:
    """A start on a full disk is not refused: reads and replays work, and new orders get a 503."""
    order_id = box.order("before")["order_id"]
    box.machine.run("dd if=/dev/zero of=/var/lib/fill bs=1M status=none", check=False)
    box.run("systemctl restart orderapi")
    box.run(f"{PATIENT_CURL} 127.0.0.1/healthz")
    shown = box.show(order_id)
    box.expect(f"no order: {shown}", holds=shown.get("order_id") == order_id)
    replayed, refused = box.order("before"), box.order("while full")
    print(f"a full disk: {refused}")
    box.expect(f"no replay: {replayed}", holds=replayed.get("order_id") == order_id)
    box.expect(f"no refusal: {refused}", holds=refused["status"] == 503)
    box.run("rm /var/lib/fill")
    box.wait_until_serving()
    made = box.order("while full")
    box.expect(f"no order after the disk has room: {made}", holds="order_id" in made)


def _taken_port(box: Box) -> None:
    """Refuse a release with which nginx could not start again."""
    metrics = "/root/1.1/deploy/nginx/orderapi/metrics.conf"
    box.run("systemd-run --quiet --unit=other python3 -m http.server --bind 127.0.0.1 9109")
    box.run(f"curl -sf --retry 20 --retry-all-errors 127.0.0.1:9109; sed -i s/9108/9109/ {metrics}")
    refused = "nothing was changed, because the metrics need port 9109 of 127.0.0.1"
    box.install("1.1", "--upgrade", fails_with=refused)
    box.run(f"systemctl stop other; sed -i s/9109/9108/ {metrics}")
    box.wait_until_serving()


def _taken_socket(box: Box) -> None:
    """Refuse to install beside a service that was started by hand at the same socket."""
    box.run("systemctl stop orderapi.socket orderapi.service")
    path = "/run/orderapi.sock"
    listen = f"import socket; s = socket.socket(1); s.bind('{path}'); s.listen(); s.accept()"
    box.run(f'systemd-run --quiet --unit=other python3 -c "{listen}"')
    box.run(f"timeout 60 bash -c 'until [ -S {path} ]; do sleep 0.1; done'")
    inode = box.run(f"stat --format=%i {path}")
    started = box.machine.run("systemctl start orderapi.socket", check=False)
    box.expect("a socket that is in use was opened", holds=started.returncode != 0)
    refused = "nothing was changed, because another process listens at /run/orderapi.sock"
    box.install("1.1", "--upgrade", fails_with=refused)
    box.expect("the socket was replaced", holds=box.run(f"stat --format=%i {path}") == inode)
    box.run("systemctl stop other; systemctl start orderapi.socket orderapi.service")
    box.wait_until_serving()


def _old_settings(box: Box) -> None:
    """Refuse an upgrade with settings that are gone, and name their lines."""
    box.run(
        f"echo ORDERAPI_WORKER_CLASS=gthread >> {ENV_FILE}; echo ORDERAPI_THREADS=4 >> {ENV_FILE}"
    )
    line = int(box.run(f"grep --count '' {ENV_FILE}"))
    done = box.machine.run(f"{INSTALL.format('1.1')} --upgrade", check=False)
    told = [f"line {line}: ORDERAPI_THREADS", f"line {line - 1}: ORDERAPI_WORKER_CLASS"]
    told.append("nothing was changed, because 1.1-")
    print(done.stderr.strip())
    box.expect(f"old settings: {done.stderr}", holds=all(each in done.stderr for each in told))
    box.run(f"sed -i '$d' {ENV_FILE}; sed -i '$d' {ENV_FILE}")
