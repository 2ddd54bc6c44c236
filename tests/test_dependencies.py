"""The service requires every package that it imports.

The tests install more packages, which would hide a missing requirement."""

import re
import subprocess
import sys
from importlib import metadata

import pytest
from packaging.requirements import Requirement

from tests.support.running import REPOSITORY

SERVE = """
import sys
from gevent import monkey
monkey.patch_all()
import orderapi.server.worker, orderapi.server.hooks, gunicorn.app.wsgiapp, gunicorn.arbiter
import orderapi.cli.commands, wsgi
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_the_service_imports_only_packages_that_it_requires() -> None:
    served = subprocess.run(
        [sys.executable, "-c", SERVE], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    owners = metadata.packages_distributions()
    imported = {
        _canonical(owner) for name in served.stdout.split() for owner in owners.get(name, [])
    }
    # Every virtual environment may contain setuptools.
    assert imported - {"setuptools", "pip"} <= _asked_for("orderapi")
    assert {"gunicorn", "gevent", "flask", "httptools"} <= imported


DRAIN = "orderapi.store.greenlet_drain"


@pytest.mark.parametrize(
    ("loaded", "expected"),
    [
        ("import orderapi.cli.commands", set()),
        (
            "from gevent import monkey; monkey.patch_all(); import orderapi.store.open",
            {"gevent", DRAIN},
        ),
    ],
    ids=["command", "server"],
)
def test_a_command_loads_no_event_loop_and_a_server_loads_all_of_it_before_its_first_request(
    loaded: str, expected: set[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {loaded}; print(*sys.modules)"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {"gevent", DRAIN} & set(done.stdout.split()) == expected


def _asked_for(distribution: str) -> set[str]:
    """Give a distribution and all of its requirements, also the indirect ones, without extras."""
    found: set[str] = set()
    left = [distribution]
    while left:
        name = _canonical(left.pop())
        if name not in found:
            found.add(name)
            requirements = map(Requirement, metadata.requires(name) or [])
            left += [
                requirement.name
                for requirement in requirements
                if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            ]
    return found


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
