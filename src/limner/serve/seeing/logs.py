"""The log: a line of JSON for each event, on the standard error. Keys are never in it, prompts only by choice."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any


class Lines(logging.Formatter):
    """What a record is `about` comes as keys of its own."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(), "from": record.name, "message": record.getMessage(),
            **getattr(record, "about", {}),
        }  # fmt: skip
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def begin(*, prompts: bool) -> None:
    """Everything that is logged in this process goes to the standard error as JSON; with `prompts`, they do too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("limner").setLevel(logging.INFO)
    logging.getLogger("limner.serve.prompts").disabled = not prompts
