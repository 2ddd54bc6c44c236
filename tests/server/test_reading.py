"""Our reader finds the requests that gunicorn finds, in whatever pieces their bytes arrive."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.corpus import AMBIGUOUS, BROKEN_CHUNKS, CLEAN
from tests.server.mutations import mutated
from tests.server.reading import Found, gunicorns, ours

ALL = CLEAN | AMBIGUOUS | BROKEN_CHUNKS
# Why this service refuses a request that gunicorn's parser accepts, by the text of the refusal.
STRICTER = {
    "The head has no field 'Host'.": "RFC 9112, section 3.2, requires one in HTTP/1.1",
    "The field 'Host' is not a host and a port.": "RFC 9112, section 3.2, requires this refusal",
    "The request line is not 'METHOD target HTTP/1.1'.": "no later HTTP/1 than 1.1 exists",
    "The only supported Transfer-Encoding is 'chunked', in HTTP/1.1.": (
        "the app would refuse any other coding, and a proxy may frame its body differently"
    ),
    "The head cannot be read: Unexpected char in url schema.": "httptools reads a URL strictly",
    "The head cannot be read: Unexpected char in url server.": "httptools reads a URL strictly",
    "The head cannot be read: Unexpected start char in url.": "httptools reads a URL strictly",
    "The head cannot be read: Request has invalid `Transfer-Encoding`.": (
        "after the coding, httptools accepts spaces and no other white space"
    ),
    "A line between the chunks of the body is too long, or not ended by CRLF.": (
        "the limits on extensions and trailers are smaller than gunicorn's"
    ),
}


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_stream_is_read_as_gunicorn_reads_it(name: str) -> None:
    found = ours(CLEAN[name])
    assert found.end == "whole"
    assert found == gunicorns(CLEAN[name])


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_a_stream_that_two_readers_may_read_differently_is_refused(name: str) -> None:
    found = ours(AMBIGUOUS[name])
    assert (found.requests, found.end) == ((), "refused")
    assert found.why


@pytest.mark.parametrize("name", BROKEN_CHUNKS)
def test_a_request_with_broken_chunks_is_the_last_and_its_body_cannot_be_read(name: str) -> None:
    found = ours(BROKEN_CHUNKS[name])
    assert found.end == "last"
    assert [request["body"] for request in found.requests] == [None]


@pytest.mark.parametrize("name", ALL)
def test_a_stream_that_arrives_byte_by_byte_is_read_the_same(name: str) -> None:
    stream = ALL[name]
    assert ours(*(stream[n : n + 1] for n in range(len(stream)))) == ours(stream)


@pytest.mark.parametrize("name", ALL)
def test_a_stream_that_is_split_anywhere_is_read_the_same(name: str) -> None:
    stream = ALL[name]
    whole = ours(stream)
    for at in range(1, min(len(stream), 300)):
        assert ours(stream[:at], stream[at:]) == whole
    generator = random.Random(name)
    for _ in range(20):
        cuts = sorted(generator.choices(range(len(stream) + 1), k=generator.randrange(2, 9)))
        assert ours(*(stream[a:b] for a, b in pairwise([0, *cuts, len(stream)]))) == whole


@settings(max_examples=800)
@given(st.randoms(use_true_random=False))
def test_a_mutated_stream_has_the_requests_that_gunicorn_finds(generator: random.Random) -> None:
    compare(mutated(generator))


def compare(stream: bytes) -> None:
    """Assert that both readers find the same requests, except for the listed differences."""
    found, theirs = ours(stream), gunicorns(stream)
    if found.accepted == theirs.accepted:
        return
    # If our reader is stricter, it finds only the first requests that gunicorn finds.
    assert found.accepted == theirs.accepted[: len(found.accepted)], explained(found, theirs)
    assert found.why in STRICTER, explained(found, theirs)


def explained(found: Found, theirs: Found) -> str:
    return f"we found {found}, and gunicorn found {theirs}"
