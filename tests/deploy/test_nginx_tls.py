"""The shipped nginx site over HTTPS, and the redirection to it."""

import http.client
import socket
import ssl
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.nginx_site import NAME, Site, ask, finish, new_site
from tests.support.running import Answer
from tests.support.upstream import listening

# A self-signed certificate for NAME.
MAKE_CERTIFICATE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    f" -subj /CN={NAME} -addext subjectAltName=DNS:{NAME}"
    " -keyout privkey.pem -out fullchain.pem"
)


@pytest.fixture
def tls_site(nginx: str) -> Iterator[Site]:
    with new_site(nginx, "orderapi-tls.conf") as site:
        command = MAKE_CERTIFICATE.split()
        subprocess.run(command, cwd=site.directory, check=True, capture_output=True)
        site.start()
        yield site


def ask_safely(site: Site, target: str) -> Answer:
    context = ssl.create_default_context(cafile=str(site.directory / "fullchain.pem"))
    connection = http.client.HTTPSConnection(NAME, site.tls_port, timeout=30, context=context)
    raw = socket.create_connection(("127.0.0.1", site.tls_port), timeout=30)
    connection.sock = context.wrap_socket(raw, server_hostname=NAME)
    return finish(connection, "GET", target, {})


def test_the_service_learns_of_https_and_browsers_are_told_to_stay_with_it(tls_site: Site) -> None:
    with listening(tls_site.socket) as upstream:
        upstream.script = [200]
        answers_over_https = [ask_safely(tls_site, "/orders"), ask_safely(tls_site, "/metrics")]
        assert upstream.received[0].all("X-Forwarded-Proto") == ["https"]
    assert [answer.status for answer in answers_over_https] == [200, 404]
    for answer in answers_over_https:
        assert answer.headers["strict-transport-security"] == "max-age=31536000"


def test_plain_http_redirects_every_request_to_https_unchanged(tls_site: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", tls_site.port, timeout=30)
    answer = finish(connection, "POST", "/orders?a=b%20c", {"Host": "evil.example"})
    assert (answer.status, answer.headers["location"]) == (308, f"https://{NAME}/orders?a=b%20c")


@pytest.mark.parametrize("fixture", ["site", "tls_site"])
def test_certbot_finds_its_challenge(request: pytest.FixtureRequest, fixture: str) -> None:
    site: Site = request.getfixturevalue(fixture)
    challenge = site.directory / "www/.well-known/acme-challenge/token"
    challenge.parent.mkdir(parents=True)
    challenge.write_text("proof")
    answer = ask(site, "/.well-known/acme-challenge/token")
    assert (answer.status, answer.body) == (200, b"proof")
    assert ask(site, "/.well-known/acme-challenge/other").status == 404


def test_plain_http_sends_no_strict_transport_security(site: Site) -> None:
    assert "strict-transport-security" not in ask(site, "/metrics").headers
