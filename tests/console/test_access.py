"""Who may see the pages, and what a browser may do with them."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from orderapi.console.access import SESSIONS_MAX, Access, cookie_name
from orderapi.store.sqlite.store import SqliteStore
from tests.support.console_pages import ADDRESS, Console, order, stranger


@pytest.fixture
def closed(store: SqliteStore) -> Console:
    """A console that this browser has not entered."""
    return stranger(store)


def test_nothing_is_shown_without_the_cookie(closed: Console) -> None:
    paths = {rule.rule for rule in closed.app.url_map.iter_rules()}
    assert len(paths) > 5
    for path in paths - {"/static/<path:filename>", "/enter"}:
        answer = closed.get(re.sub(r"<int:\w+>", "1", path).replace("<", "").replace(">", ""))
        assert answer.status_code == 401, path
        assert "This browser has no access" in answer.text


def test_a_link_works_once_and_a_new_one_is_announced(closed: Console) -> None:
    first = closed.links[-1]
    assert closed.get(first).status_code == 200
    assert closed.get("/").status_code == 200
    other = closed.app.test_client()
    assert other.get(first, base_url=ADDRESS).status_code == 401
    assert len(closed.links) == 2
    assert closed.links[-1] != first
    assert other.get(closed.links[-1], base_url=ADDRESS).status_code == 200
    assert other.get("/", base_url=ADDRESS).status_code == 200
    assert closed.get("/").status_code == 200


@pytest.mark.parametrize("link", ["/enter", "/enter?secret=", "/enter?secret=guess"])
def test_a_wrong_secret_gives_no_access_and_the_right_one_stays_valid(
    closed: Console, link: str
) -> None:
    answer = closed.get(link)
    assert answer.status_code == 401
    assert "Set-Cookie" not in answer.headers
    assert len(closed.links) == 1
    assert closed.get(closed.links[-1]).status_code == 200


def test_the_cookie_is_sent_only_to_this_console(closed: Console) -> None:
    cookie = closed.get(closed.links[-1]).headers["Set-Cookie"]
    name, *attributes = re.split(r"=|; ", cookie, maxsplit=1)
    assert name == "orderapi-console-8100"
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Path=/" in cookie
    assert closed.links[0].partition("=")[2] not in cookie
    assert attributes


def test_two_consoles_do_not_share_a_cookie() -> None:
    assert cookie_name("127.0.0.1:8100") != cookie_name("127.0.0.1:8200")
    assert cookie_name("localhost") == "orderapi-console-80"


def test_the_oldest_browsers_must_enter_again_when_there_are_too_many() -> None:
    links: list[str] = []
    access = Access(links.append)
    access.announce_link()
    sessions = []
    for _ in range(SESSIONS_MAX + 1):
        session = access.enter(links[-1].partition("secret=")[2])
        assert session is not None
        sessions.append(session)
    assert [access.is_known(session) for session in sessions] == [False] + [True] * SESSIONS_MAX
    assert not access.is_known("")


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8100", "localhost:8100", "[::1]:8100", "127.0.0.1", "LOCALHOST:9000"]
)
def test_a_name_of_this_machine_is_accepted(closed: Console, host: str) -> None:
    assert closed.browser.get("/static/console.css", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8100",
        "127.0.0.1.evil.example",
        "localhost.evil.example:8100",
        "127.0.0.1@evil.example",
        "evil.example#127.0.0.1",
        "127.0.0.2",
        "0.0.0.0:8100",
        "10.0.0.1:8100",
        "127.0.0.1:port",
        "[::1",
        "",
    ],
)
def test_another_name_is_refused_even_with_the_cookie(closed: Console, host: str) -> None:
    assert closed.get(closed.links[-1]).status_code == 200
    cookie = closed.browser.get_cookie("orderapi-console-8100", domain="127.0.0.1")
    assert cookie is not None
    sent = {"Host": host, "Cookie": f"{cookie.key}={cookie.value}"}
    answer = closed.app.test_client().get("/", headers=sent)
    assert answer.status_code in (400, 421)
    assert "Search" not in answer.text


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9999"])
def test_a_page_of_another_site_is_refused(console: Console, origin: str) -> None:
    assert console.get("/", Origin=origin).status_code == 403
    assert console.get("/", Origin=ADDRESS).status_code == 200


def test_only_requests_that_read_are_possible(console: Console) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        for path in ("/", "/orders", "/retry"):
            answer = console.browser.open(path, method=method, base_url=ADDRESS)
            assert answer.status_code == 405


def test_the_page_of_a_refusal_leads_only_to_this_console(closed: Console) -> None:
    answer = closed.get("//evil.example/x?a=1")
    (link,) = re.findall(r'class="button primary" href="([^"]*)"', answer.text)
    assert link.startswith(f"{ADDRESS}/")


class _Inline(HTMLParser):
    """Collects what a strict Content-Security-Policy would refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        self.found += [name for name in names if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in names):
            self.found.append(tag)
        for name in ("src", "href", "action"):
            value = names.get(name) or ""
            if value and not value.startswith(("/", "#", f"{ADDRESS}/")):
                self.found.append(value)


def pages(console: Console, order_id: str) -> Iterator[str]:
    yield from ("/", "/search?q=cust1", "/search?q=nobody", "/orders?customer=cust1", "/missing")
    yield from ("/now", "/orders", "/events", "/orders?client=public&from=x")
    yield from (f"/orders/{order_id}", "/clients/public", "/retry?client=public&key=k&body={}")
    yield console.links[-1]


def test_every_page_has_the_headers_that_protect_it_and_nothing_inline(
    console: Console, store: SqliteStore
) -> None:
    order_id = order(store, "key-1").order_id
    for path in pages(console, order_id):
        answer = console.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self'")
        assert "unsafe" not in policy
        assert "http" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        inline = _Inline()
        inline.feed(answer.text)
        if answer.status_code != 303:  # werkzeug's own text about a redirect
            assert inline.found == [], path


def test_only_the_files_of_the_pages_are_served(closed: Console) -> None:
    static = Path(str(closed.app.static_folder))
    for file in static.iterdir():
        assert closed.get(f"/static/{file.name}").status_code == 200
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/"):
        assert closed.get(path).status_code in (401, 404)
