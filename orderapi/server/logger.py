"""gunicorn's own lines in the log."""

from typing import Any

from gunicorn.glogging import Logger


class JsonLogger(Logger):  # type: ignore[misc] # gunicorn ships no types
    """A logger whose lines go through the handler that writes this service's."""

    def setup(self, cfg: Any) -> None:
        """Let the root logger's handler write what gunicorn logs; its own writes plain text."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
