"""Streams of bytes that contain requests: valid ones, and the known ways to smuggle a request.

The kinds of smuggling come from the HTTP Desync research (CL.TE, TE.CL, TE.TE, CL.0 and 0.CL; not
the downgrades from HTTP/2) and from RFC 9112, sections 2.2, 5.2, 6.1, 6.3 and 7.1. The server must
refuse a stream if two readers of HTTP could find different requests in it.
"""

from itertools import product

BODY = b'{"customer_id": "cust1", "item_id": "item1", "quantity": 1}'


def message(line: bytes, *fields: bytes, body: bytes = b"") -> bytes:
    """Write a message with CRLF at each line's end."""
    return b"\r\n".join([line, *fields, b"", b""]) + body


def post(*fields: bytes, body: bytes = b"") -> bytes:
    """Write a `POST /orders` with these fields and this body."""
    return message(b"POST /orders HTTP/1.1", b"Host: a", *fields, body=body)


def get(*fields: bytes, target: bytes = b"/healthz") -> bytes:
    """Write a GET with these fields."""
    return message(b"GET " + target + b" HTTP/1.1", b"Host: a", *fields)


SIZE = b"%x\r\n" % len(BODY)
CHUNKS = SIZE + BODY + b"\r\n0\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"
SMUGGLED = message(b"GET /smuggled HTTP/1.1", b"Host: a")

# Streams in which every strict reader finds the same requests.
CLEAN: dict[str, bytes] = {
    "get": get(),
    "get with fields": get(b"Accept: */*", b"User-Agent: x", b"X-Long: " + b"v" * 4000),
    "empty values": get(b"X-Empty:", b"X-Blank: \t "),
    "values with outer white space": get(b"X-A: \t a b \t", b"X-B:b"),
    "repeated fields": get(b"X-A: 1", b"X-A: 2", b"x-a: 3"),
    "bytes beyond ASCII in a value": get(b"X-A: \xe9\xff\x80"),
    "every character of a name": get(b"!#$%&'*+-.^`|~09azAZ: 1"),
    "a name with an underscore": get(b"X_A: 1", b"Content_Length: 5"),
    "query and fragment": get(target=b"/orders?a=b&c=%41#d?e"),
    "escapes": get(target=b"/orders/%C3%A9%2f..%00"),
    "two slashes": get(target=b"//orders//?//"),
    "odd characters": get(target=b'/"<>\\^`{|}'),
    "absolute form": get(target=b"http://a:80/orders?limit=1"),
    "asterisk form": message(b"OPTIONS * HTTP/1.1", b"Host: a"),
    "authority form": message(b"CONNECT a:80 HTTP/1.1", b"Host: a"),
    "another method": message(b"BREW /orders HTTP/1.1", b"Host: a"),
    "1.0": message(b"GET /healthz HTTP/1.0"),
    "1.0, kept": message(b"GET /healthz HTTP/1.0", b"Connection: keep-alive"),
    "close": get(b"Connection: close"),
    "upgrade": get(b"Connection: Upgrade", b"Upgrade: websocket"),
    "upgrade with a body": post(
        b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 59", body=BODY
    ),
    "one empty line before": b"\r\n" + get(),
    "sized": post(b"Content-Length: 59", body=BODY),
    "sized with zeros": post(b"Content-Length: 00059", body=BODY),
    "sized, empty": post(b"Content-Length: 0"),
    "a get with a body": get(b"Content-Length: 5") + b"12345",
    "chunked": post(CHUNKED, body=CHUNKS),
    "chunked in capitals": post(b"TRANSFER-ENCODING: CHUNKED", body=CHUNKS.upper()),
    "chunked, many": post(CHUNKED, body=b"".join(b"1\r\n%c\r\n" % c for c in BODY) + b"0\r\n\r\n"),
    "chunked, zeros": post(CHUNKED, body=b"0000" + CHUNKS),
    "chunked, empty": post(CHUNKED, body=b"0\r\n\r\n"),
    "chunk extensions": post(
        CHUNKED, body=b'3b;a;b=c;d="e\\"f"\r\n' + BODY + b"\r\n0 ; last\r\n\r\n"
    ),
    "trailers": post(CHUNKED, body=CHUNKS[:-2] + b"X-A: 1\r\nX-B:\r\n\r\n"),
    "expectation": post(b"Expect: 100-Continue", b"Content-Length: 59", body=BODY),
    "two": get() + get(b"X-A: 1"),
    "three with bodies": (
        post(b"Content-Length: 59", body=BODY) + post(CHUNKED, body=CHUNKS) + get()
    ),
}

_LENGTHS = [
    b"-1", b"+59", b"5_9", b"5 9", b"0x3b", b"59,59", b"59, 5", b"", b"x", b"59\x0b", b"59;a",
    b"5.9e1", b"\xb2", b"\"59\"",
]  # fmt: skip
_CODINGS = [
    b"identity", b"chunked, chunked", b"chunked, identity", b"gzip, chunked", b"chunked, gzip",
    b"gzip", b"xchunked", b"chunke", b"chunked;q=1", b"\"chunked\"", b"chunked,", b",chunked", b"",
    b"cow", b"chunked\x0b", b"\x0bchunked", b"chunked\x00", b"chun\tked", b"'chunked'",
]  # fmt: skip
_NAMES = [
    b"Content-Length : 59", b" Content-Length: 59", b"\tContent-Length: 59",
    b"Content-Length\t: 59", b"Content-Length\x00: 59", b"Content-\x0bLength: 59",
    b"Content-L\xe9ngth: 59", b": 59", b"Content-Length", b"Content-Length\xa0: 59",
    b"Transfer-Encoding : chunked", b"Transfer-Encoding\x0b: chunked", b"(Content-Length): 59",
    b"Content Length: 59", b"Content-Length\r: 59", b"\x00Content-Length: 59",
]  # fmt: skip
_CHUNKS = [
    b"\r\n", b"zz\r\n" + BODY, b"-1\r\n" + BODY, b"0x3b\r\n" + BODY, b"3b \r\n" + BODY,
    b" 3b\r\n" + BODY, b"+3b\r\n" + BODY, b"3_b\r\n" + BODY, b"3b\n" + BODY + b"\n0\n\n",
    b"3b\r\n" + BODY + b"0\r\n\r\n", b"3b\r" + BODY + b"\r0\r\r", b"3b;\r\n" + BODY,
    b"3b;a b\r\n" + BODY, b"3b;a=\"\r\n" + BODY, b"3b;\n\r\n" + BODY, b"3b;a\rb\r\n" + BODY,
    b"3b a\r\n" + BODY, b"f" * 17 + b"\r\n" + BODY, b"3b\r\n" + BODY + b"XX0\r\n\r\n",
    b"3b\r\n" + BODY + b"\n\r0\r\n\r\n", b"\r3b\r\n" + BODY,
    CHUNKS[:-2] + b"Content-Length: 5\r\n\r\n", CHUNKS[:-2] + b"Host: b\r\n\r\n",
    CHUNKS[:-2] + b"X \r\n\r\n", CHUNKS[:-2] + b" X: 1\r\n\r\n", CHUNKS[:-2] + b"X: 1\n\r\n",
    CHUNKS[:-2] + b"X : 1\r\n\r\n", CHUNKS[:-2] + b"Transfer-Encoding: chunked\r\n\r\n",
    CHUNKS[:-2] + b"X: \x00\r\n\r\n",
]  # fmt: skip
_LINES = [
    b"GET\x20\x20/healthz HTTP/1.1", b"GET /healthz\x20\x20HTTP/1.1", b"GET\t/healthz HTTP/1.1",
    b" GET /healthz HTTP/1.1", b"GET /healthz HTTP/1.1 ", b"GET /healthz",
    b"GET /healthz HTTP/9.9", b"GET /healthz HTTP/2.0", b"GET /healthz HTTP/1.10",
    b"GET /healthz http/1.1", b"GET /healthz HTTP/1,1", b"GET /he althz HTTP/1.1",
    b"get /healthz HTTP/1.1", b"G\x00T /healthz HTTP/1.1", b"GET /\x00 HTTP/1.1",
    b"GET /\xe9 HTTP/1.1", b"GET healthz HTTP/1.1", b"GET * HTTP/1.1", b"GET a:80 HTTP/1.1",
    b"G(T /healthz HTTP/1.1", b"", b"GET", b"PRI * HTTP/2.0", b"GET /healthz HTTP/0.9",
    b"GET /healthz ICY/1.1", b"GET /health\rz HTTP/1.1",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET /healthz\x0bHTTP/1.1",
    b"GET /healthz HTTP/1.1\x00", b"GE /healthz HTTP/1.1", b"A" * 21 + b" / HTTP/1.1",
    b"GET http://[/ HTTP/1.1", b"GET /healthz HTTP/ 1.1",
]  # fmt: skip
_FIELDS = [
    b"X-A: a\x00b", b"X-A: a\x0bb", b"X-A: a\x7f", b"X-A: a\rb", b"X-A: a\n b", b"X-A: a\r\n b",
    b"X-A: a\r\n\tb", b"X-A: a\r\n : b", b"No-Colon", b"Host: b", b"X-A: a\r\r\nX-B: b",
    b"X-A: a\n\rX-B: b", b"Content-Type: a\r\nContent-Type: a", b"Expect: 200-ok",
    b"X-A: \x1b[31m", b"\r\x00: a", b"X-A: a\r",
]  # fmt: skip

# Streams in which two readers may find different requests. The server must refuse each of them.
AMBIGUOUS: dict[str, bytes] = (
    {f"line {n}": message(line, b"Host: a") + SMUGGLED for n, line in enumerate(_LINES)}
    | {f"field {n}": get(field) + SMUGGLED for n, field in enumerate(_FIELDS)}
    | {f"name {n}": post(name, body=BODY) + SMUGGLED for n, name in enumerate(_NAMES)}
    | {
        f"length {n}": post(b"Content-Length: " + value, body=BODY) + SMUGGLED
        for n, value in enumerate(_LENGTHS)
    }
    | {
        f"coding {n}": post(b"Transfer-Encoding: " + value, body=CHUNKS) + SMUGGLED
        for n, value in enumerate(_CODINGS)
    }
    | {
        f"length and coding {n}": post(*pair, body=CHUNKS + SMUGGLED)
        for n, pair in enumerate(
            product((b"Content-Length: 4", b"Content-Length: 0"), (CHUNKED, CHUNKED + b"x"))
        )
    }
    | {
        "coding and length": post(CHUNKED, b"Content-Length: 4", body=CHUNKS + SMUGGLED),
        "two lengths": post(b"Content-Length: 59", b"Content-Length: 5", body=BODY),
        "two equal lengths": post(b"Content-Length: 59", b"content-length: 59", body=BODY),
        "two codings": post(CHUNKED, CHUNKED, body=CHUNKS),
        "two codings that differ": post(CHUNKED, b"transfer-encoding: identity", body=CHUNKS),
        "chunked in 1.0": message(b"POST /orders HTTP/1.0", CHUNKED, body=CHUNKS),
        "no host": message(b"GET /healthz HTTP/1.1"),
        "line feeds alone": get().replace(b"\r\n", b"\n"),
        "carriage returns alone": get().replace(b"\r\n", b"\r") + b"\r\n\r\n",
        "two empty lines before": b"\r\n\r\n" + get(),
        "a line feed before": b"\n" + get(),
        "a carriage return before": b"\r" + get(),
        "a space before": b" " + get(),
    }
)
# Streams with a valid head and invalid chunks.
BROKEN_CHUNKS: dict[str, bytes] = {
    f"chunks {n}": post(CHUNKED, body=chunks + SMUGGLED) for n, chunks in enumerate(_CHUNKS)
}
