"""The relay: it delivers all events, in their order, to one webhook."""
