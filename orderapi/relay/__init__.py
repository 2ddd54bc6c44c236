"""The relay: events, in order, to one webhook; one file per concern."""
