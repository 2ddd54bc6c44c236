"""What all commands share: exit codes, one line on wrong use, and help."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import click
import pytest

from orderapi.cli.commands import main
from orderapi.store.postgres import copy_session, start
from tests.support.front import run
from tests.support.ports import free_port
from tests.support.running import environ_with

ORDERAPI = str(Path(sys.executable).parent / "orderapi")
# The arguments that a command requires.
FILES = {
    "backup": ["orders-1.db"],
    "copy": ["sqlite:////var/lib/orderapi/orders.db", "postgresql://orderapi@db/orderapi"],
    "restore": ["orders-1.db"],
}


# The subcommands of `token` are tested in test_token_command.py.
COMMANDS = [name for name, command in main.commands.items() if not isinstance(command, click.Group)]
# A copy has two databases, which are its arguments.
WITH_DATABASE = [name for name in COMMANDS if name != "copy"]

# Help.


@pytest.mark.parametrize("arguments", [["--help"], ["-h"]])
def test_help_names_every_command(arguments: list[str]) -> None:
    shown = subprocess.run([ORDERAPI, *arguments], capture_output=True, text=True, check=True)
    assert set(main.commands) == {
        "audit",
        "backup",
        "console",
        "copy",
        "migrate",
        "relay",
        "restore",
        "token",
        "verify",
    }
    for name in main.commands:
        assert f"\n  {name} " in shown.stdout
    assert "..." not in shown.stdout.partition("Commands:")[2]  # no line is cut off


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = run("--help", command=command)
    assert result.exit_code == 0
    assert f"\n    {' '.join(['orderapi', command, *FILES.get(command, [])])}\n" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["audit", "--nonsense"],
        ["verify", "one", "two"],
        ["backup"],
        ["restore"],
        ["copy", "sqlite:///orders.db"],
    ],
)
def test_wrong_use_exits_with_2(arguments: list[str]) -> None:
    done = subprocess.run([ORDERAPI, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Usage: orderapi" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_while_the_program_loads_ends_it_without_a_traceback(tmp_path: Path) -> None:
    # The library of the commands is replaced by a module that stands for the key.
    code = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
    (tmp_path / "click.py").write_text(code)
    environ = environ_with() | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([ORDERAPI, "audit"], env=environ, capture_output=True, check=False)
    assert done.returncode == -signal.SIGINT
    assert (done.stdout, done.stderr) == (b"", b"")


def test_ctrl_c_ends_a_command_with_one_line_and_its_own_exit_code() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = subprocess.Popen(
            [ORDERAPI, "verify", url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environ_with(),
        )
        connection, _ = silent.accept()  # the command waits for an answer from now on
        process.send_signal(signal.SIGINT)
        shown, reported = process.communicate(timeout=10)
        connection.close()
    assert process.returncode == 130
    assert shown == ""
    assert reported == "Error: the command was interrupted before it had finished\n"


def test_an_argument_that_is_no_number_is_named_so() -> None:
    for arguments in (["token", "revoke", "x"], ["console", "--port", "x"]):
        done = subprocess.run([ORDERAPI, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "'x' is not a valid integer.\n" in done.stderr


# Settings and addresses.


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("name", "value"), [("NONSENSE", "1"), ("LOG_LEVEL", "loud"), ("WEBHOOK_URL", "ftp://host")]
)
def test_a_bad_setting_is_refused_in_one_line(command: str, name: str, value: str) -> None:
    result = run(*FILES.get(command, []), command=command, **{name: value})
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"Error: ORDERAPI_{name}: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8000",
        "ftp://127.0.0.1",
        "http://",
        "http://:8000",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:http",
        "http://[::1",
        "http://user:secret@127.0.0.1",
        "http://127.0.0.1/?a=b",
        "http://127.0.0.1/#a",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/a\r\nX: b",
        "http://bücher.example",
    ],
)
def test_a_bad_url_is_refused_in_one_line(url: str) -> None:
    result = run(url)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: URL: ")
    assert result.stderr.count("\n") == 1
    assert "secret" not in result.output


def test_the_url_comes_from_the_settings_unless_given() -> None:
    set_port, given_port = free_port(), free_port()
    assert "1 FAILED" in run(URL=f"http://127.0.0.1:{set_port}").stdout
    assert run(f"http://127.0.0.1:{given_port}", URL=f"http://127.0.0.1:{set_port}").exit_code == 1


@pytest.mark.parametrize(
    "content", [None, b"", b"\n", b"secret\nsecret", b"secr\xc3\xa9t", b"x" * 5000]
)
def test_a_token_file_without_a_token_is_refused(tmp_path: Path, content: bytes | None) -> None:
    token_file = tmp_path / "token"
    if content is not None:
        token_file.write_bytes(content)
    result = run(f"http://127.0.0.1:{free_port()}", "--token-file", str(token_file))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"Error: --token-file {token_file}: ")
    assert "secret" not in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_directory_is_no_token_file(tmp_path: Path) -> None:
    result = run("--token-file", str(tmp_path))
    assert result.exit_code == 2
    assert "Is a directory" in result.stderr


# Databases.


@pytest.mark.parametrize("command", ["verify", "audit", "backup"])
@pytest.mark.parametrize("kind", ["missing", "directory", "text", "empty", "foreign"])
def test_a_file_that_is_no_database_of_ours_is_refused_and_not_changed(
    tmp_path: Path, command: str, kind: str
) -> None:
    path = tmp_path / "other.db"
    if kind == "directory":
        path.mkdir()
    elif kind == "text":
        path.write_text("no database\n" * 500)
    elif kind == "empty":
        path.touch()
    elif kind == "foreign":
        with closing(sqlite3.connect(path)) as db:
            db.execute("CREATE TABLE t (a)")
    before = {file: file.is_file() and file.read_bytes() for file in tmp_path.iterdir()}
    result = run(*FILES.get(command, []), "--database", f"sqlite:///{path}", command=command)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"Error: cannot read sqlite:///{path}: ")
    assert result.stderr.count("\n") == 1
    assert {file: file.is_file() and file.read_bytes() for file in tmp_path.iterdir()} == before


def run_in(directory: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command with the default settings in a directory."""
    return subprocess.run(
        command, cwd=directory, env=environ_with(), capture_output=True, text=True, check=False
    )


def test_a_file_that_is_not_there_is_named_with_its_directory(tmp_path: Path) -> None:
    """The default is relative, so its reader must see in which directory the command ran."""
    done = run_in(tmp_path, ORDERAPI, "audit")
    assert done.returncode == 2
    assert done.stderr == (
        f"Error: cannot read sqlite:///orders.db: {tmp_path}/orders.db: No such file or directory;"
        " --database or ORDERAPI_DATABASE_URL names another one\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [["audit"], ["token", "list"], ["restore", "x"], ["verify", "--token-file", "x"]],
)
def test_a_directory_that_was_deleted_is_named(tmp_path: Path, arguments: list[str]) -> None:
    directory = tmp_path / "deleted"
    directory.mkdir()
    done = run_in(directory, "sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh", ORDERAPI, *arguments)
    assert done.returncode == 2
    assert done.stderr == (
        "Error: the directory in which this command runs was deleted; change to another directory\n"
    )


def test_a_directory_is_called_no_file(tmp_path: Path) -> None:
    result = run("--database", f"sqlite:///{tmp_path}", command="audit")
    assert result.exit_code == 2
    assert result.stderr.endswith(f": {tmp_path} is not a file\n")


def test_a_file_that_this_user_may_not_read_is_called_so(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    assert run("--database", f"sqlite:///{path}", command="migrate").exit_code == 0
    path.chmod(0)
    done = subprocess.run(
        [*_without_all_rights(), ORDERAPI, "audit", "--database", f"sqlite:///{path}"],
        env=environ_with(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.endswith(
        f": this user may not read {path}; run the command as the user of the service\n"
    )


def _without_all_rights() -> list[str]:
    """Return the beginning of a command that takes the right to read every file from root."""
    taken = "-dac_override,-dac_read_search"
    return [] if os.geteuid() else ["setpriv", "--bounding-set", taken, "--inh-caps", taken]


@pytest.mark.parametrize("command", WITH_DATABASE)
@pytest.mark.parametrize("url", ["", "orders.db", "sqlite:///", "postgresql:/localhost/orders"])
def test_a_bad_database_url_is_refused_in_one_line(command: str, url: str) -> None:
    result = run(*FILES.get(command, []), "--database", url, command=command)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: --database: expected sqlite:///")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", WITH_DATABASE)
def test_a_server_that_cannot_be_reached_is_named_in_one_line(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if command == "restore":  # a backup that does not exist is refused first
        monkeypatch.chdir(tmp_path)
        Path(*FILES[command]).touch()
    for module in (start, copy_session):  # Both commands wait for a server that is starting.
        monkeypatch.setattr(module, "REACH_MAX_S", 0.0)
    url = f"postgresql://app:secret@127.0.0.1:{free_port()}/orders"
    result = run(*FILES.get(command, []), "--database", url, command=command)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    verb = "reach" if command in ("migrate", "restore") else "read"
    assert result.stderr.startswith(f"Error: cannot {verb} postgresql://app@127.0.0.1:")
    assert "Connection refused" in result.stderr
    assert "secret" not in result.stderr


# `migrate`.


def test_migrate_makes_the_tables_and_then_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    for _ in range(2):
        result = run("--database", f"sqlite:///{path}", command="migrate")
        assert result.exit_code == 0
        assert result.stdout == f"the tables of sqlite:///{path} are up to date\n"
    assert run("--database", f"sqlite:///{path}", command="audit").exit_code == 0


def test_migrate_refuses_a_database_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE orders (number INTEGER)")
    before = path.read_bytes()
    result = run("--database", f"sqlite:///{path}", command="migrate")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert path.read_bytes() == before
