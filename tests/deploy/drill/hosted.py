"""A host of the service beside a PostgreSQL of its own, as deploy/postgres/README.md sets it up.

The addresses are those of the page. They all belong to one machine: its nginx has two hosts of the
service, of which the second one is down, and one of its addresses is that of the database.
"""

import re
from pathlib import Path

from tests.deploy.drill.box import ENV_FILE, Box

_README = Path(__file__).parents[3] / "deploy" / "postgres" / "README.md"
_CODE = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_HOST, _PROXY, _DATABASE, _STRANGER = "10.0.0.11", "10.0.0.12", "10.0.0.21", "10.0.0.40"
_DROP_INS = "/etc/systemd/system/orderapi.service.d /etc/systemd/system/orderapi.socket.d"
_REACHES = "timeout 3 bash -c 'exec 3<>/dev/tcp/{}/{}'"


def run(box: Box) -> None:
    """Run the chapter. It begins with an empty database, and the earlier orders do not count."""
    box.run("systemctl stop orderapi.socket orderapi orderapi-relay")
    box.acknowledged.write_text("")
    _start_database(box)
    make_roles, make_tables, settings, place_files = _printed()
    box.run(f"sudo -u postgres psql --quiet --set ON_ERROR_STOP=1 <<'SQL'\n{make_roles}SQL")
    box.run(f"cd /opt/orderapi/current; set -e\n{make_tables}")
    box.run(f"sed -i '/^ORDERAPI_DATABASE_URL=/d' {ENV_FILE}; cat >> {ENV_FILE} <<'E'\n{settings}E")
    # The address of the socket is not there yet, as early in a boot.
    box.run(f"cd /opt/orderapi/current; set -e\n{place_files}")
    _add_addresses(box, _HOST, _PROXY)
    if box.has_token:
        box.use(box.run("orderapi token create public"))
    box.wait_until_serving()
    _expect_walls(box)
    print()
    with box.under_load("another host is down"):
        box.order("a host beside another one")
    with box.under_load("systemctl restart, beside a host that is down"):
        box.run("systemctl restart orderapi")
        box.wait_until_serving()
    box.query_with("sudo -u postgres psql --quiet --no-align --tuples-only orderapi -c")
    box.prove("these operations")
    box.run(f"rm -r {_DROP_INS}; systemctl daemon-reload")


def _printed() -> tuple[str, str, str, str]:
    """Return the SQL, the commands and the settings that the page prints, in its order."""
    blocks = [found.groups() for found in _CODE.finditer(_README.read_text())]
    assert [language for language, _ in blocks] == ["sql", "bash", "bash", "bash"], blocks
    roles, tables, settings, files = (text for _, text in blocks)
    return roles, tables, settings, files


def _start_database(box: Box) -> None:
    """Start a PostgreSQL that listens at one address of the page and is empty."""
    _add_addresses(box, _DATABASE, _STRANGER)
    box.run("DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes postgresql")
    box.run("cd /; sudo -u postgres dropdb --if-exists orderapi")
    box.run("cd /; sudo -u postgres dropuser --if-exists orderapi")
    listen = f"ALTER SYSTEM SET listen_addresses = '{_DATABASE}'"
    box.run(f'cd /; sudo -u postgres psql --quiet --command "{listen}"')
    allowed = "host orderapi orderapi,orders_owner 10.0.0.0/24 scram-sha-256"
    box.run(f"echo '{allowed}' >> /etc/postgresql/*/main/pg_hba.conf; systemctl restart postgresql")


def _add_addresses(box: Box, *addresses: str) -> None:
    for address in addresses:
        box.run(f"ip address add {address}/32 dev lo")


def _expect_walls(box: Box) -> None:
    """Expect that the drop-ins of systemd allow only the addresses that they name."""
    service = "/sys/fs/cgroup/system.slice/orderapi.service/cgroup.procs"
    for what, command, is_open in (
        ("the service and the database", _REACHES.format(_DATABASE, 5432), True),
        ("the service and another host", _REACHES.format(_STRANGER, 80), False),
    ):
        done = box.machine.run(f"echo 0 > {service}; {command}", check=False)
        box.expect(f"{what}: open is {not is_open}", holds=(done.returncode == 0) == is_open)
    for source, is_open in ((_PROXY, True), (_STRANGER, False)):
        curl = f"curl -s -o /dev/null --max-time 3 --interface {source} {_HOST}:8000/healthz"
        done = box.machine.run(curl, check=False)
        found = f"{source} reaches the service: {done.returncode == 0}"
        box.expect(found, holds=(done.returncode == 0) == is_open)
