"""A real server gives no answer to generated requests that its OpenAPI document does not have."""

import os
import subprocess
import sys
from pathlib import Path

from orderapi.web.openapi.headers import TOKEN_NAME
from tests.support.rows import counts
from tests.support.running import REPOSITORY, serving
from tests.support.tokens import create

# Some requests that follow the document are refused, because JSON Schema cannot describe the rule:
# the cursor of another list, the number of an event that does not exist yet, `1.0` as an integer.
NOT_CHECKED = "positive_data_acceptance"


def run_schemathesis(url: str, token: str, directory: Path) -> None:
    """Send requests of all kinds, and assert that each answer is one of the document."""
    command = [
        str(Path(sys.executable).parent / "schemathesis"),
        *("run", f"{url}/openapi.json"),
        *("--checks", "all", "--exclude-checks", NOT_CHECKED),
        *("--max-examples", "10", "--seed", "1", "--no-shrink", "--continue-on-failure"),
    ]
    # This file of its working directory is where schemathesis looks for a token.
    (directory / "schemathesis.toml").write_text(
        f'[auth.openapi.{TOKEN_NAME}]\nbearer = "{token}"\n'
    )
    environ = os.environ | {"SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks"}
    environ["PYTHONPATH"] = str(REPOSITORY)
    done = subprocess.run(command, cwd=directory, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_answer_is_missing_in_the_document(tmp_path: Path) -> None:
    with serving(tmp_path, AUTH="required") as server:
        _, token = create(server.engine, "public")
        run_schemathesis(server.url, token, tmp_path)
        # Some of the generated orders were accepted, so the answer 201 was checked too.
        assert counts(server.database)[0] > 0
