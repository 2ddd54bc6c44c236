"""The feed of committed events, for clients that read it over HTTP."""
