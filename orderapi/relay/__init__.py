"""The relay delivers events, in order, to one webhook; each file has one concern."""
