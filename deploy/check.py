"""The check that `install.sh` makes before it changes anything: can this release start here?

`python -m deploy.check` checks the settings in the environment, and the database that they name.
`python -m deploy.check --settings FILE` checks the settings alone, because before a first
installation there is no database. FILE is the file from which systemd has read the settings, so
that each refusal names its line.

The check runs in the directory of the release, as the user of the service, and it changes nothing.
If the release cannot start, the exit code is 1, and stderr has a line for each reason. A rollback
runs the check of an older release, so the command without arguments must stay as it is.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from orderapi.errors import SettingsInvalid, StartRefused, StoreUnavailable
from orderapi.settings import read_settings
from orderapi.store.open import open_store


def main() -> None:
    """Check what the arguments ask for, and exit."""
    match sys.argv[1:]:
        case []:
            refusals = _refused_start(os.environ)
        case ["--settings", file]:
            refusals = _refused_lines(os.environ, Path(file))
        case _:
            sys.exit("usage: python -m deploy.check [--settings FILE]")
    if reasons := "\n".join(refusals):
        sys.exit(reasons)


def _refused_start(environ: Mapping[str, str]) -> Iterator[str]:
    """Give the reason for which this release cannot start, if there is one."""
    try:
        store = open_store(read_settings(environ).database_url, read_only=True)
        store.read(lambda _: None)
    except StartRefused as error:
        yield str(error)
    except StoreUnavailable as error:
        yield error.reason


def _refused_lines(environ: Mapping[str, str], file: Path) -> Iterator[str]:
    """Give every refusal of a setting, with the lines of `file` that contain the setting."""
    for refusal in _refused_settings(environ):
        lines = _lines_with(refusal.name, file)
        yield f"{file}, {' and '.join(lines)}: {refusal}" if lines else str(refusal)


def _refused_settings(environ: Mapping[str, str]) -> Iterator[SettingsInvalid]:
    """Give every refusal. `read_settings` reports one, so it is called again without that one."""
    left = dict(environ)
    while True:
        try:
            read_settings(left)
        except SettingsInvalid as error:
            yield error
            if left.pop(error.name, None) is not None:
                continue
        return


def _lines_with(name: str, file: Path) -> list[str]:
    """Give `line N` for each line of a settings file that sets `name` (systemd.exec(5))."""
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return []
    sets_name = re.compile(rf"\s*{re.escape(name)}\s*=")
    return [f"line {number}" for number, line in enumerate(lines, 1) if sets_name.match(line)]


if __name__ == "__main__":
    main()
