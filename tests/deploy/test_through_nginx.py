"""The service behaves in the same way behind nginx: its own tests run through the shipped site."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, TestResponse

from tests.api import test_bad_input as bad_input
from tests.api import test_orders_show as orders_show
from tests.api.test_bad_input import (  # noqa: F401
    test_a_body_over_16_kib_is_too_large_in_both_framings,
    test_a_content_encoding_is_refused,
    test_a_key_in_a_header_of_another_spelling_is_missing,
    test_a_key_of_neither_form_is_refused,
    test_a_missing_content_type_is_refused,
    test_a_missing_key_is_refused,
    test_an_unusual_host_is_no_internal_error,
    test_http_1_0_is_answered_and_closed,
    test_other_content_types_are_refused,
    test_two_key_headers_are_refused_even_if_they_are_equal_or_join_to_a_key,
)
from tests.api.test_bad_json import *  # noqa: F403
from tests.api.test_problems import (  # noqa: F401
    NOWHERE,
    test_head_answers_as_get_without_the_body,
    test_no_header_changes_the_path_of_a_request,
    test_options_names_the_methods,
    test_other_methods_are_named_as_not_allowed,
)
from tests.support.http_messages import answers, check_problem, one_answer, raw_order, raw_request
from tests.support.nginx_site import ServerBehind
from tests.support.running import Server


@pytest.fixture
def refusing(clean: ServerBehind) -> "ClientOf":
    return ClientOf(clean)


class ClientOf:
    """The part of Flask's test client that these tests use."""

    def __init__(self, server: ServerBehind) -> None:
        self._server = server

    def post(self, target: str, *, data: bytes, headers: Mapping[str, str]) -> TestResponse:
        answer = self._server.request("POST", target, data, headers)
        request = EnvironBuilder(path=target, method="POST").get_request()
        return TestResponse([answer.body], str(answer.status), Headers(answer.headers), request)


def cases(test: Callable[..., None]) -> list[Any]:
    """Give the parameters of a parametrized test."""
    (mark,) = (mark for mark in vars(test)["pytestmark"] if mark.name == "parametrize")
    return list(mark.args[1])


# nginx itself refuses some requests with a 400. These requests never reach the service.

PATHS = [
    *NOWHERE,
    # nginx uses this path internally, for its problem documents.
    "/nginx-problem",
    *(f"/orders/{each}" for each in cases(orders_show.test_an_id_without_an_order_is_not_found)),
]
REFUSED_PATHS = ["/orders%00", "/orders/%00", "/orders/..%2f..%2fetc%2fpasswd"]


@pytest.mark.parametrize("target", [path for path in PATHS if path not in REFUSED_PATHS])
def test_other_paths_are_not_found(shared_server: ServerBehind, target: str) -> None:
    check_problem(one_answer(shared_server.raw(raw_request("GET", target))), "not-found")


@pytest.mark.parametrize("target", [*REFUSED_PATHS, "/../orders", "/" + "a" * 9000])
def test_a_path_that_nginx_refuses_is_a_bad_request(
    shared_server: ServerBehind, target: str
) -> None:
    check_problem(one_answer(shared_server.raw(raw_request("GET", target))), "bad-request")


@pytest.mark.parametrize("length", [9_000, 100_000])
def test_a_header_over_8_kib_is_a_bad_request(clean: ServerBehind, length: int) -> None:
    received = clean.raw(raw_order("k" * length, bad_input.BODY))
    check_problem(one_answer(received), "bad-request")


@pytest.mark.parametrize(
    "headers",
    [
        # nginx removes such a line, and sends the request without it to the service.
        *(c for c in cases(bad_input.test_what_is_not_http_is_refused_by_the_server_itself)
          if c != ("No-Colon",)),
        ("Content-Length: 99999999999999999999",),
    ],
)  # fmt: skip
def test_what_is_not_http_is_refused(clean: ServerBehind, headers: tuple[str, ...]) -> None:
    received = clean.raw(raw_order("framing", bad_input.BODY, *headers))
    assert 400 <= answers(received)[0].status <= 501


# nginx accepts a chunk size that a blank or a bare line feed follows. Such a body is complete.
ACCEPTED_BY_NGINX = re.compile(rb"[0-9a-f]+( \r|)\n")


@pytest.mark.parametrize(
    "body",
    [
        body
        for body in cases(bad_input.test_a_body_with_broken_chunks_is_never_executed)
        if not ACCEPTED_BY_NGINX.match(body)
    ],
)
def test_a_body_with_broken_chunks_is_never_executed(clean: ServerBehind, body: bytes) -> None:
    # If a client closes its sending side, nginx treats it as gone, and may not answer.
    received = Server.raw(clean, raw_order("chunks", body, bad_input.CHUNKED))
    for answer in answers(received):
        check_problem(answer, "bad-request")


@pytest.mark.parametrize("announced", [len(bad_input.BODY) + 1, 500, 16_384])
def test_a_body_cut_short_is_never_executed(clean: ServerBehind, announced: int) -> None:
    request = raw_order("cut", bad_input.BODY, f"Content-Length: {announced}")
    assert Server.raw(clean, request) == b""
