"""The response headers for security and for caches."""

# A browser must use the type in `Content-Type` and guess no other (WHATWG Fetch, section 3.6).
NO_SNIFFING = ("X-Content-Type-Options", "nosniff")
# An answer belongs to one client. Therefore no cache may store it (RFC 9111, section 5.2.2.5).
NOT_STORED = ("Cache-Control", "no-store")

# A page loads nothing, sends no form, and cannot be shown inside another page (CSP Level 3).
# `of_page` adds what a page needs.
_PAGE_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# If a reader follows a link to another site, the browser must not send it the address of the page.
_NO_REFERRER = ("Referrer-Policy", "no-referrer")


def of_page(*allowed: str) -> list[tuple[str, str]]:
    """Return the headers of a page for people.

    `allowed` are the directives of the Content Security Policy that the page needs, such as
    `style-src 'self'`.
    """
    policy = "; ".join((_PAGE_POLICY, *allowed))
    return [("Content-Security-Policy", policy), _NO_REFERRER]
