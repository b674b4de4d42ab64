"""Waiting for a job with a client that may go away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from starlette.requests import Request

from limner.serve.faults import Closed
from limner.serve.orders import Job, State
from limner.serve.problems import Problem, problem_of
from limner.serve.service import Service

GONE = 499  # what others log for a client that closed the connection; nobody is there to read it

_cancelling: set[asyncio.Task[State]] = set()  # held until they are done


async def drawn(request: Request, service: Service, job: Job, *, keep: bool) -> Job:
    """The job when all its pictures are there; Problem where it ended otherwise. See `over`."""
    done = await over(request, service, job, keep=keep)
    if (wrong := problem_of(done)) is not None:
        raise wrong
    return done


async def over(request: Request, service: Service, job: Job, *, keep: bool) -> Job:
    """The job when it is over, however that came.

    If the client goes away, the job is cancelled, unless it is to `keep`.
    """
    with unless_gone(service, job, keep=keep) as wanted:
        gone = asyncio.create_task(_gone(request))
        finished = asyncio.create_task(service.finished(job.id))
        try:
            await asyncio.wait({gone, finished}, return_when=asyncio.FIRST_COMPLETED)
            if not finished.done():
                raise Problem(status=GONE, kind="client", code="gone", message="the client went away")
            wanted.append(finished.result())
        finally:
            gone.cancel()
            finished.cancel()
    return wanted[0]


@contextlib.contextmanager
def unless_gone(service: Service, job: Job, *, keep: bool) -> Iterator[list[Job]]:
    """Cancels the job at the end, unless the finished one was put into the list, or it is to `keep`, or is kept for
    the next service."""
    finished: list[Job] = []
    try:
        yield finished
    except Closed:
        keep = True
        raise
    finally:
        if not (finished or keep):
            # Who waits for this may be cancelled just now, and could not wait any more.
            cancelling = asyncio.ensure_future(service.cancel(job.id))
            _cancelling.add(cancelling)
            cancelling.add_done_callback(_cancelling.discard)


async def _gone(request: Request) -> None:
    """Until the connection is closed. The body has been read, so that nothing else is to come."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
