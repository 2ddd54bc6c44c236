"""What a release is installed from: exactly what setup.cfg asks for, and nothing by name alone."""

import configparser
import re
from importlib.metadata import requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.support.running import REPOSITORY

_LOCKED = re.compile(r"^(?P<pin>\S+==\S+)(?P<rest>.*(?:\n    .*)*)", re.MULTILINE)
_TEXT = (REPOSITORY / "deploy/requirements.lock").read_text()
LOCKED = {
    canonicalize_name(Requirement(found["pin"]).name): (Requirement(found["pin"]), found["rest"])
    for found in _LOCKED.finditer(_TEXT)
}


def asked_for() -> list[Requirement]:
    settings = configparser.ConfigParser()
    settings.read(REPOSITORY / "setup.cfg")
    extras = settings["options.extras_require"]
    lists = (settings["options"]["install_requires"], extras["relay"], extras["release"])
    lines = "\n".join(lists).splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_each_pin_of_setup_cfg_is_locked_as_it_is() -> None:
    assert {canonicalize_name(asked.name): asked.specifier for asked in asked_for()}.items() <= {
        name: locked.specifier for name, (locked, _) in LOCKED.items()
    }.items()


def test_each_package_is_locked_by_its_hashes() -> None:
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", rest) for _, rest in LOCKED.values())
    lines = [line for line in _TEXT.splitlines() if line and not line.startswith(("#", " "))]
    assert len(lines) == len(LOCKED)


def test_what_is_locked_is_what_is_needed_and_nothing_else() -> None:
    needed: set[str] = set()
    due = asked_for()
    while due:
        requirement = due.pop()
        name = canonicalize_name(requirement.name)
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if not applies or name in needed:
            continue
        needed.add(name)
        (version,) = LOCKED[name][0].specifier
        assert requirement.specifier.contains(Version(version.version)), str(requirement)
        if name != "setuptools":  # it makes the release, and is not installed here
            due += [Requirement(line) for line in requires(name) or ()]
    assert needed == set(LOCKED)
