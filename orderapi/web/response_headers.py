"""The headers that protect the readers of an answer, whatever program shows the answer to them."""

# A browser must not guess another type than `Content-Type` says (WHATWG Fetch, section 3.6).
NO_SNIFFING = ("X-Content-Type-Options", "nosniff")
# An answer belongs to one client, so that no cache may store it (RFC 9111, section 5.2.2.5).
NOT_STORED = ("Cache-Control", "no-store")

# A page loads nothing, sends no form, and cannot be shown inside another page (CSP Level 3). What
# the page needs beyond that is appended.
_PAGE_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# A link on a page must not tell another site from which address it was followed.
_NO_REFERRER = ("Referrer-Policy", "no-referrer")


def of_page(*allowed: str) -> list[tuple[str, str]]:
    """Return the headers of a page for people.

    `allowed` are directives of the Content Security Policy for what the page needs, such as
    `style-src 'self'`.
    """
    policy = "; ".join((_PAGE_POLICY, *allowed))
    return [("Content-Security-Policy", policy), _NO_REFERRER]
