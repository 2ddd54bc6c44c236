"""The shipped site in front of several hosts of the service."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.nginx_site import Site, new_site
from tests.support.running import REPOSITORY, Server

SHIPPED = REPOSITORY / "deploy" / "postgres" / "hosts.conf"


class Host(Server):
    """A gunicorn at an address of its own, as on an API host. `number` is 1 or 2."""

    def __init__(self, directory: Path, number: int, **settings: str) -> None:
        super().__init__(directory, **settings)
        self.host = f"127.0.0.1{number}"
        self.address = f"{self.host}:{self.port}"
        self.settings = {"BIND": self.address} | settings


@contextmanager
def site_of(nginx: str, hosts: Sequence[Host]) -> Iterator[Site]:
    """Run the shipped site with the shipped file of two hosts, in front of these two."""
    with new_site(nginx) as site:
        shutil.copy(SHIPPED, site.directory / "orderapi" / "hosts.conf")
        for number, host in enumerate(hosts, start=1):
            site.replace(f"10.0.0.1{number}:8000", host.address, times=6)
        site.start()
        yield site
