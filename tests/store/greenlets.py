"""Runs one scenario in a process of its own, patched by gevent before anything else is imported."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.running import REPOSITORY

_RUN = """\
from gevent import monkey
monkey.patch_all()
import importlib, pathlib, sys
module, scenario, path, *arguments = sys.argv[1:]
getattr(importlib.import_module(module), scenario)(pathlib.Path(path), *arguments)
"""


def run_in_greenlets(scenario: Callable[..., Any], path: Path, *arguments: str) -> str:
    """Run `scenario(path, *arguments)` as a gevent worker would; gives what it printed.

    Nothing may come on stderr, neither its failure nor what gevent would print of others.
    """
    command = [sys.executable, "-c", _RUN, scenario.__module__, scenario.__name__, str(path)]
    ended = subprocess.run(
        [*command, *arguments],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stderr == "", ended.stderr
    assert ended.returncode == 0
    return ended.stdout
