"""The examples of `deploy/postgres/`, checked by the programs that read them."""

import subprocess
from pathlib import Path

import pytest

from tests.deploy.test_units import complaints, run, staged
from tests.support.nginx_hosts import Host, site_of
from tests.support.nginx_site import ask
from tests.support.ports import free_port
from tests.support.programs import Program
from tests.support.running import REPOSITORY, started

EXAMPLES = REPOSITORY / "deploy" / "postgres"
DROP_INS = {"service.conf": "orderapi.service", "socket.conf": "orderapi.socket"}


def test_nginx_sends_requests_to_the_host_that_is_left(program: Program, tmp_path: Path) -> None:
    hosts = []
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        hosts.append(Host(tmp_path / str(number), number, WORKERS="1"))
    with started(hosts[0]), started(hosts[1]), site_of(program("nginx", "nginx"), hosts) as site:
        assert {ask(site, "/healthz").status for _ in range(4)} == {200}
        for host in hosts:
            host.wait_for_log("/healthz")
        hosts[0].kill()
        assert {ask(site, "/healthz").status for _ in range(8)} == {200}


@pytest.mark.parametrize("name", DROP_INS)
def test_systemd_accepts_a_drop_in(program: Program, tmp_path: Path, name: str) -> None:
    units = staged(tmp_path)
    directory = tmp_path / f"{DROP_INS[name]}.d"
    directory.mkdir()
    drop_in = directory / name
    drop_in.write_text((EXAMPLES / name).read_text())
    done = run(program, "verify", "--man=no", *units)
    assert (done.returncode, complaints(done)) == (0, [])
    # Without this, the test could pass because the drop-in is not read.
    drop_in.write_text(drop_in.read_text() + "NoSuchSetting=1\n")
    assert complaints(run(program, "verify", "--man=no", *units))


def test_patroni_accepts_its_configuration(program: Program, tmp_path: Path) -> None:
    patroni = program("patroni", "patroni")
    text = (EXAMPLES / "patroni.yml").read_text()
    for port in (5432, 8008):
        # Patroni complains about ports that are in use on this machine.
        text = text.replace(f"10.0.0.21:{port}", f"127.0.0.21:{free_port()}")
    text = text.replace("/var/lib/postgresql/15/orderapi", str(tmp_path / "data"))
    assert complaints_of_patroni(patroni, tmp_path, text) <= {NOT_NEEDED}
    wrong = text.replace("scope: orderapi\n", "")
    assert any("scope" in line for line in complaints_of_patroni(patroni, tmp_path, wrong))


# Patroni 3.0 wants a list here which it does not use, because `postgresql.pg_hba` is there.
NOT_NEEDED = "bootstrap.pg_hba  is not defined."


def complaints_of_patroni(patroni: str, directory: Path, text: str) -> set[str]:
    config = directory / "patroni.yml"
    config.write_text(text)
    done = subprocess.run(
        [patroni, "--validate-config", str(config)], capture_output=True, text=True, timeout=60
    )
    lines = f"{done.stdout}{done.stderr}".splitlines()
    # No etcd runs at the address of the configuration.
    return {line for line in lines if "is not reachable" not in line}
