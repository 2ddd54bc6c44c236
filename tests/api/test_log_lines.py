"""The lines of the log. `log_request` writes the same line that `logging` would write."""

import json
import logging
import string
import subprocess
import sys
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pythonjsonlogger.json import JsonEncoder

from orderapi import logs
from tests.support.running import REPOSITORY

values = st.one_of(
    st.text(st.characters(), max_size=12),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.integers(),
    st.booleans(),
    st.none(),
    st.floats(0, 1e7).map(lambda seconds: round(seconds, 2)),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=3),
)
names = st.text(string.ascii_lowercase + "_", min_size=1, max_size=8)


@given(st.dictionaries(names, values, max_size=6))
def test_a_line_is_printable_ascii_and_the_same_as_from_the_standard_encoder(
    members: dict[str, Any],
) -> None:
    line = logs._serialize(members)
    assert line.isascii()
    assert line.isprintable()
    assert line == JsonEncoder(ensure_ascii=True).encode(members)


BOTH_WAYS = """
import logging, sys
from orderapi import logs
logs.configure(sys.argv[1])
fields = {"address": "::1", "method": "GET", "path": "/caf\\u00e9\\x7f\\n", "status": 200,
          "duration_ms": 0.25, "replayed": True, "key_hash": "37eb19184eb9"}
logs.log_request(fields, "id-1")
logs.request_id.set("id-1")
logging.getLogger("orderapi.request").info("request", extra=fields)
"""


def lines_both_ways(level: str) -> list[bytes]:
    run = subprocess.run(
        [sys.executable, "-c", BOTH_WAYS, level], cwd=REPOSITORY, capture_output=True, check=True
    )
    return run.stderr.splitlines()


def test_the_line_of_a_request_is_the_one_that_logging_would_write() -> None:
    short, long = lines_both_ways("info")
    assert short.isascii()
    one, other = json.loads(short), json.loads(long)
    assert list(one) == list(other)
    assert len(one.pop("time")) == len(other.pop("time"))
    assert one == other


def test_a_level_above_info_has_neither_line() -> None:
    assert lines_both_ways("warning") == []


def test_a_process_that_has_not_configured_its_log_uses_that_of_python(caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    logs.log_request({"path": "/"}, "id-1")
    assert [(record.name, record.path) for record in caplog.records] == [("orderapi.request", "/")]


def test_a_process_without_stderr_discards_its_lines() -> None:
    """Without stderr, descriptor 2 may belong to the database."""
    code = "import os\nfrom orderapi import logs\nlogs.configure('info')\n"
    code += "descriptor = os.open('/dev/full', os.O_RDWR)\nassert descriptor == 2\n"
    code += "logs.log_request({}, 'id-1')\nlogs._log.critical('gone')\nprint(logs._writer)"
    run = subprocess.run(
        ["sh", "-c", '"$0" -c "$1" 2>&-', sys.executable, code],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        check=True,
    )
    assert run.stdout == b"None\n"
