"""The lines that gunicorn itself writes into the log."""

from typing import Any

from gunicorn.glogging import Logger


class JsonLogger(Logger):  # type: ignore[misc] # gunicorn ships no types
    """A logger of gunicorn whose lines are written by the log handler of this service."""

    def setup(self, cfg: Any) -> None:
        """Remove the handler of gunicorn, which writes plain text. The root logger has another."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
