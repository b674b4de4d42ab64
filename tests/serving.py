"""`limner serve` as a process, to be loaded, killed and looked into."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

GENERATIONS = "/v1/images/generations"


@dataclass
class Serving:
    """A server on one port, of which there may be several, one after another, on the same data."""

    data: Path
    models: Sequence[str]
    options: Sequence[str] = ()
    port: int = 0
    page: bool = False
    secret: str = ""  # the key, where it asks for one
    process: subprocess.Popen[str] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Until it listens."""
        command = [sys.executable, "-m", "limner", "serve", *self.models, "--port", str(self.port)]
        command += ["--page" if self.page else "--no-page"]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1",
                       "PYTHONPATH": os.pathsep.join(sys.path)}  # fmt: skip
        with (self.data.parent / f"{self.data.name}.log").open("a") as log:
            self.process = subprocess.Popen(
                [*command, "--data", str(self.data), *self.options], stdout=subprocess.PIPE, stderr=log, text=True,
                env=environment,
            )  # fmt: skip
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line.startswith("http://"), f"{line!r}; see {self.data}.log"
        self.port = int(line.split()[0].rstrip("/").rpartition(":")[2])
        self._until(lambda: self.answers("/healthz/live"))

    def ready(self) -> None:
        """Until it draws at once."""
        self._until(lambda: self.answers("/healthz/ready"))

    def answers(self, path: str) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.get(path)[0] == 200
        return False

    def get(self, path: str) -> tuple[int, str]:
        """The status and the text: with less work than httpx has, which would be in the way of who is measured."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request("GET", path, headers=self.headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"} if self.secret else {}

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self._ended(30)

    def stop(self, seconds: float = 60.0) -> int:
        """Told to stop: its exit code."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self._ended(seconds)

    def _ended(self, seconds: float) -> int:
        assert self.process
        assert self.process.stdout
        code = self.process.wait(seconds)
        self.process.stdout.close()
        return code

    def busy(self) -> bool:
        """Whether anything waits or is drawn."""
        return any(self.metric(f"t2i_{name}") > 0 for name in ("queue_depth", "drawing", "requests_in_progress"))

    def settle(self, seconds: float = 90.0) -> None:
        """Until nothing is left to draw."""
        self._until(lambda: not self.busy(), seconds)

    def workers(self) -> list[int]:
        """The processes that draw for it."""
        assert self.process
        return children(self.process.pid)

    def memory(self) -> int:
        """Bytes that it holds, without its workers."""
        assert self.process
        return resident(self.process.pid)

    def handles(self) -> int:
        assert self.process
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def metric(self, name: str, **labels: str) -> float:
        """The sum of all samples of this name and these labels."""
        found = 0.0
        for line in self.get("/metrics")[1].splitlines():
            said, _, value = line.rpartition(" ")
            kind, _, rest = said.partition("{")
            if kind == name and all(f'{key}="{one}"' in rest for key, one in labels.items()):
                found += float(value)
        return found

    @staticmethod
    def _until(condition: Any, seconds: float = 90.0) -> None:
        ends = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < ends, "it takes too long"
            time.sleep(0.02)


@contextlib.contextmanager
def serving(
    data: Path, models: Sequence[str], *options: str, page: bool = False, secret: str = ""
) -> Iterator[Serving]:
    """One that is ready, and gone with all its workers at the end."""
    found = Serving(data, models, options, page=page, secret=secret)
    found.start()
    try:
        found.ready()
        yield found
    finally:
        assert found.process
        if found.process.poll() is None:
            found.stop()


async def post(port: int, body: Mapping[str, Any], path: str = GENERATIONS) -> tuple[int, dict[str, str]]:
    """The status and headers of one request on a connection of its own: next to no work, beside that of the server."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nConnection: close\r\n"
    writer.write(head.encode() + f"Content-Length: {len(data)}\r\n\r\n".encode() + data)
    answer = await reader.read()
    writer.close()
    first, *lines = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    return int(first.split()[1]), {
        name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)
    }


def children(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def request(seed: int, *, steps: int = 4, count: int = 1, **others: Any) -> dict[str, Any]:
    return {
        "prompt": f"a red square, number {seed}", "seed": seed, "num_inference_steps": steps, "n": count,
        "response_format": "b64_json", **others,
    }  # fmt: skip
