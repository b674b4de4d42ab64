"""The log: a line of JSON for each event, on the standard error.

Keys are in none of them. Prompts are there by choice alone: without it an error comes without its own words, which may
quote one.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from typing import Any, TextIO

from limner.serve.ledger.keys import PREFIX
from limner.serve.traces import traced

SECRET = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{16,}}")


class Lines(logging.Formatter):
    """What a record is `about` comes as keys of its own."""

    def __init__(self, *, prompts: bool) -> None:
        super().__init__()
        self._prompts = prompts

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(), "from": record.name, "message": record.getMessage(),
            **getattr(record, "about", {}),
        }  # fmt: skip
        if record.exc_info and record.exc_info[1] is not None:
            line["trace"] = self.formatException(record.exc_info) if self._prompts else traced(record.exc_info[1])
        return SECRET.sub(f"{PREFIX}...", json.dumps(line, default=str))


def begin(*, prompts: bool, stream: TextIO | None = None) -> None:
    """Everything that is logged in this process goes to the standard error as JSON; with `prompts`, they do too."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Lines(prompts=prompts))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)
    logging.getLogger("limner").setLevel(logging.INFO)
    logging.getLogger("limner.serve.prompts").disabled = not prompts
