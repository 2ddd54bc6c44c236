"""The example of the client runs as it is printed. An import names a library that is missing."""

import doctest
import subprocess
import sys
from pathlib import Path

import pytest

import orderapi.client
from orderapi.client import OrderClient
from tests.support.running import Server


def test_the_example_of_the_client_runs_as_printed(
    service: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = vars(orderapi.client) | {"base_url": service.url}
    (example,) = doctest.DocTestFinder(recurse=False).find(OrderClient, "OrderClient", globs=names)
    outcome = doctest.DocTestRunner().run(example)
    assert outcome == doctest.TestResults(failed=0, attempted=len(example.examples))
    assert len(example.examples) >= 6


@pytest.mark.parametrize("library", ["httpx2", "tenacity"])
def test_without_its_libraries_the_import_says_how_to_install_them(library: str) -> None:
    code = f"import sys; sys.modules[{library!r}] = None; import orderapi.client"
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert failed.stderr.splitlines()[-1] == (
        f"ImportError: orderapi.client needs {library}: pip install 'orderapi[client]'"
    )
