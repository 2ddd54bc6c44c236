"""The environment: every setting, and the one line that refuses a bad value."""

import http.client
import socket
from pathlib import Path
from typing import Any

import pytest

from orderapi.errors import SettingsInvalid
from orderapi.settings import PostgresUrl, SqliteUrl, parse_database_url, read_settings
from orderapi.store.open import open_store
from tests.support.running import Server, serving
from tests.support.waiting import wait_until

SECRET = "whsec_" + "c2VjcmV0"


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = read_settings({})
    assert settings.database_url == SqliteUrl(Path("orders.db"))
    assert settings.bind == "127.0.0.1:8000"
    assert settings.workers >= 2
    assert settings.fault_injection is True
    assert settings.log_level == "info"


@pytest.mark.parametrize(
    ("name", "value", "attribute", "meaning"),
    [
        ("DATABASE_URL", "sqlite:////abs/file.db", "database_url", SqliteUrl(Path("/abs/file.db"))),
        ("BIND", "0.0.0.0:80", "bind", "0.0.0.0:80"),
        ("BIND", "localhost:1", "bind", "localhost:1"),
        ("BIND", "[::1]:65535", "bind", "[::1]:65535"),
        ("BIND", "unix:/tmp/o.sock", "bind", "unix:/tmp/o.sock"),
        ("WORKERS", "1", "workers", 1),
        ("FAULT_INJECTION", "off", "fault_injection", False),
        ("LOG_LEVEL", "debug", "log_level", "debug"),
    ],
)
def test_a_valid_value_is_accepted(name: str, value: str, attribute: str, meaning: Any) -> None:
    assert getattr(read_settings({f"ORDERAPI_{name}": value}), attribute) == meaning


BAD = [
    ("DATABASE_URL", ""),
    ("DATABASE_URL", "orders.db"),
    ("DATABASE_URL", "sqlite://orders.db"),
    ("DATABASE_URL", "sqlite:///"),
    ("DATABASE_URL", "sqlite:////tmp/"),
    ("DATABASE_URL", "sqlite:///:memory:"),
    ("DATABASE_URL", "sqlite:///a.db?mode=ro"),
    ("DATABASE_URL", "sqlite:///a.db#x"),
    ("DATABASE_URL", "mysql:///orders"),
    ("DATABASE_URL", "postgresql:/host/orders"),
    ("DATABASE_URL", "postgresql://host/or ders"),
    ("DATABASE_URL", "postgresql://host/orders\n"),
    ("DATABASE_URL", "SQLITE:///orders.db"),
    ("BIND", ""),
    ("BIND", "8000"),
    ("BIND", ":8000"),
    ("BIND", "127.0.0.1"),
    ("BIND", "127.0.0.1:"),
    ("BIND", "127.0.0.1:http"),
    ("BIND", "127.0.0.1:65536"),
    ("BIND", "127.0.0.1:99999999999"),
    ("BIND", "127.0.0.1:-1"),
    ("BIND", "127.0.0.1:\u0661"),
    ("BIND", "127.0.0.1:8000\n"),
    ("BIND", "127.0.0.1:8000,127.0.0.1:8001"),
    ("BIND", "http://127.0.0.1:8000"),
    ("BIND", "fd://3"),
    ("BIND", "unix:orders.sock"),
    ("BIND", "unix:/tmp/" + "x" * 108),
    ("WORKERS", ""),
    ("WORKERS", "0"),
    ("WORKERS", "-1"),
    ("WORKERS", "1.5"),
    ("WORKERS", " 2"),
    ("WORKERS", "\u0662"),
    ("WORKERS", "9" * 5_000),
    ("AUTH", "on"),
    ("AUTH", "OFF"),
    ("FAULT_INJECTION", "true"),
    ("FAULT_INJECTION", ""),
    ("LOG_LEVEL", "INFO"),
    ("LOG_LEVEL", "verbose"),
    ("WEBHOOK_URL", "http://[::1"),
    ("WEBHOOK_URL", "ftp://example.org"),
    ("WEBHOOK_URL", "http://example.org:99999"),
    ("WEBHOOK_URL", "http://example.org/a b"),
    ("WEBHOOK_SECRET", "secret"),
    ("WEBHOOK_SECRET", "whsec_"),
    ("WEBHOOK_SECRET", "whsec_%%%"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_named_in_one_line(name: str, value: str) -> None:
    with pytest.raises(SettingsInvalid) as refused:
        read_settings({f"ORDERAPI_{name}": value})
    message = str(refused.value)
    assert message.startswith(f"ORDERAPI_{name}: ")
    assert len(message.splitlines()) == 1
    assert len(message) < 300


@pytest.mark.parametrize("name", ["WORKER", "PORT", "", "workers", "BIND_", "DATABASE_URL_FILE"])
def test_an_unknown_name_is_named(name: str) -> None:
    with pytest.raises(SettingsInvalid, match=f"^ORDERAPI_{name}: "):
        read_settings({f"ORDERAPI_{name}": "1"})


@pytest.mark.parametrize("name", ["WORKER_CLASS", "THREADS"])
def test_a_setting_that_is_gone_is_refused_with_that_reason(name: str) -> None:
    with pytest.raises(SettingsInvalid, match=f"^ORDERAPI_{name}: this setting is gone"):
        read_settings({f"ORDERAPI_{name}": "gthread"})


def test_variables_of_other_programs_are_ignored() -> None:
    assert read_settings({"PORT": "x", "orderapi_bind": "x", "MY_ORDERAPI_BIND": "x"})


def test_the_server_ignores_the_settings_that_only_commands_read() -> None:
    read_settings(
        {
            "ORDERAPI_URL": "nonsense",
            "ORDERAPI_TOKEN": "caf\u00e9",
            "ORDERAPI_WEBHOOK_URL": "https://example.org/hook",
            "ORDERAPI_WEBHOOK_SECRET": SECRET,
        }
    )


def test_the_text_of_the_settings_contains_no_secret() -> None:
    url = "https://user:pass@example.org/hook?token=sesame"
    settings = read_settings({"ORDERAPI_WEBHOOK_URL": url, "ORDERAPI_WEBHOOK_SECRET": SECRET})
    assert (settings.webhook_url, settings.webhook_secret) == (url, SECRET)
    assert not any(part in repr(settings) for part in ("example", "sesame", SECRET))


def test_a_secret_is_not_repeated() -> None:
    with pytest.raises(SettingsInvalid) as refused:
        read_settings({"ORDERAPI_WEBHOOK_SECRET": "my-secret"})
    assert "my-secret" not in str(refused.value)


def test_a_database_url_is_relative_or_absolute() -> None:
    assert parse_database_url("sqlite:///orders.db") == SqliteUrl(Path("orders.db"))
    assert parse_database_url("sqlite:///data/orders.db") == SqliteUrl(Path("data/orders.db"))
    assert parse_database_url("sqlite:////var/lib/orders.db") == SqliteUrl(
        Path("/var/lib/orders.db")
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://", "postgresql://"),
        ("postgres://host/orders", "postgresql://host/orders"),
        (
            "postgresql://app:secret@host:5433/orders?sslmode=require",
            "postgresql://app@host:5433/orders",
        ),
        ("postgresql://app:s%40cret@a,b:1/orders", "postgresql://app@a,b:1/orders"),
        ("postgresql:///orders?host=/run/postgresql&password=secret", "postgresql:///orders"),
        ("postgresql://app:se/cret@host/orders", "postgresql://..."),
        ("postgresql://app:se@cret@host/orders", "postgresql://..."),
    ],
)
def test_the_url_of_a_server_is_shown_without_its_password(text: str, shown: str) -> None:
    url = parse_database_url(text)
    assert isinstance(url, PostgresUrl)
    assert url.text == text
    assert str(url) == shown
    assert "secret" not in repr(url)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BIND", "127.0.0.1:99999"),
        ("BIND", "nowhere.invalid:8123"),
        ("BIND", "192.0.2.1:8123"),
        ("BIND", "unix:/no/such/directory/o.sock"),
        ("BIND", "unix:/tmp"),
        ("BIND", "unix:/dev/null/o.sock"),
        ("DATABASE_URL", "postgresql:/x"),
        ("WORKERS", "two"),
        ("WORKER_COUNT", "2"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_the_server_stops_with_one_line_that_names_the_setting(
    tmp_path: Path, name: str, value: str
) -> None:
    check_refused(Server(tmp_path, **{name: value}), f"ORDERAPI_{name}")


def test_a_port_in_use_stops_the_start_with_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        check_refused(Server(tmp_path, BIND=f"127.0.0.1:{other.getsockname()[1]}"), "ORDERAPI_BIND")
    assert not (tmp_path / "orders.db").exists()


def check_refused(server: Server, name: str) -> None:
    server.start(wait=False)
    assert server.process is not None
    assert server.process.wait(60) != 0
    output = server.log_path.read_text()
    assert "Traceback" not in output
    bad_news = [line for line in server.log_lines() if line["level"] != "INFO"]
    assert len(bad_news) == 1, output
    assert name in bad_news[0]["message"]
    assert "exc_info" not in bad_news[0]


def test_a_unix_socket_serves(tmp_path: Path) -> None:
    path = tmp_path / "orders.sock"
    server = Server(tmp_path, BIND=f"unix:{path}")
    # The helper would wait for an answer over TCP, but this server listens on a unix socket.
    server.start(wait=False)
    try:
        assert ask_socket(path) == 200
        assert server.stop() == 0
    finally:
        if server.process is not None:
            server.process.kill()
    assert not path.exists()


def ask_socket(path: Path) -> int:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        wait_until(lambda: connection.connect_ex(str(path)) == 0, "serving")
        connection.sendall(b"GET /orders HTTP/1.1\r\nHost: x\r\n\r\n")
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status


def test_workers_and_fault_injection_are_as_set(tmp_path: Path) -> None:
    with serving(tmp_path, WORKERS="3", FAULT_INJECTION="off") as server:
        assert server.order("key-1", X_Debug_Fail_After_Commit="true").status == 201
        assert len(server.workers()) == 3
        assert server.stop() == 0


def test_a_relative_database_url_is_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    open_store(read_settings({}).database_url).prepare()
    assert (tmp_path / "orders.db").exists()
