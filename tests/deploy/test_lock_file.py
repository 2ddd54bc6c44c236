"""The lock file has exactly the packages that setup.cfg requires, each with its hashes."""

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


def required() -> list[Requirement]:
    settings = configparser.ConfigParser()
    settings.read(REPOSITORY / "setup.cfg")
    extras = settings["options.extras_require"]
    lists = (
        settings["options"]["install_requires"],
        extras["postgres"],
        extras["relay"],
        extras["release"],
    )
    lines = "\n".join(lists).splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_each_pin_of_setup_cfg_is_locked_as_it_is() -> None:
    assert {canonicalize_name(asked.name): asked.specifier for asked in required()}.items() <= {
        name: locked.specifier for name, (locked, _) in LOCKED.items()
    }.items()


def test_each_package_is_locked_by_its_hashes() -> None:
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", rest) for _, rest in LOCKED.values())
    lines = [line for line in _TEXT.splitlines() if line and not line.startswith(("#", " "))]
    assert len(lines) == len(LOCKED)


def test_the_lock_file_has_every_package_that_is_needed_and_no_other() -> None:
    needed: set[str] = set()
    due = required()
    while due:
        requirement = due.pop()
        name = canonicalize_name(requirement.name)
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if not applies or name in needed:
            continue
        needed.add(name)
        (version,) = LOCKED[name][0].specifier
        assert requirement.specifier.contains(Version(version.version)), str(requirement)
        # setuptools is needed only to build a release, so it is not installed here.
        if name != "setuptools":
            due += [Requirement(line) for line in requires(name) or ()]
    assert needed == set(LOCKED)
