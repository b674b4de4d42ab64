"""The service without HTTP: orders are accepted, which is written down, drawn, and kept. Each dialect asks this.

async with Service(ledger, pictures, catalogue) as service:
    job = await service.submit(Order(model="flow-scenes", prompt="a red balloon", seed=7), key=None)
    async for event in service.events(job.id): ...
    job = await service.finished(job.id)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from limner.core import check
from limner.serve.bookkeeper import Bookkeeper
from limner.serve.catalogue import Catalogue
from limner.serve.faults import Closed, Spent, Unavailable
from limner.serve.ledger import Idempotency, Key, Ledger
from limner.serve.orders import Job, Order, State
from limner.serve.pictures import Pictures
from limner.serve.studio.crew import Limits, Standing, Studio
from limner.serve.studio.events import Listener, Over
from limner.serve.studio.messages import Load
from limner.serve.watching import Watch

TIDYING = 30.0  # seconds between two tidyings
GONE = "the image that it was to be drawn over is gone"

log = logging.getLogger(__name__)
prompts = logging.getLogger("limner.serve.prompts")  # silent, unless somebody chose otherwise: see seeing/logs.py


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """`waiting`: seconds within which a job is begun, or is not drawn at all. `keeping`: seconds for which it is known
    after its end. `precision` and `compile` are those of `limner draw`; `studio` the limits of who draws."""

    waiting: float = 600.0
    keeping: float = 30 * 86400.0
    precision: str = "auto"
    compile: str = "auto"
    together: int | None = None
    studio: Limits = field(default_factory=Limits)


class Service:
    """Draws as long as it is open. What its predecessor left undone comes first."""

    def __init__(self, ledger: Ledger, pictures: Pictures, catalogue: Catalogue, terms: Terms | None = None, *,
                 watch: Watch | None = None) -> None:  # fmt: skip
        self.ledger, self.catalogue = ledger, catalogue
        self._pictures, self._terms = pictures, terms or Terms()
        watch = watch or Watch()
        self._books = Bookkeeper(ledger, pictures, watch)
        self._studio = Studio(
            self._books, limits=self._terms.studio, load=self._load, resident=[catalogue.default.name],
            watch=watch,
        )  # fmt: skip
        self._coming = 0  # pictures that are being accepted
        self._accepting: set[asyncio.Task[Job]] = set()
        self._tidying: asyncio.Task[None] | None = None
        self._draining = False

    async def __aenter__(self) -> Self:
        await self._studio.__aenter__()
        await self._resume(await asyncio.to_thread(self.ledger.recover))
        self._tidying = asyncio.create_task(self._tidy())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.drain(0.0)

    # -- what is asked -------------------------------------------------------------------------------

    async def submit(
        self, order: Order, *, key: Key | None, image: bytes | None = None, mask: bytes | None = None,
        idempotency: Idempotency | None = None,
    ) -> Job:  # fmt: skip
        """The job of this order, on the disk, to be drawn over these PNG files; or the one that the same request has
        made before. Full, Closed, Spent, Reused or Unavailable where it is not accepted; InputError or
        UnknownModelError where it cannot be drawn.

        Who is cancelled while it waits for this has asked for nothing.
        """
        self.catalogue.find(order.model).check_knobs(order.knobs)
        accepting = asyncio.create_task(self._accept(order, key, image, mask, idempotency))
        self._accepting.add(accepting)
        accepting.add_done_callback(self._accepting.discard)
        try:
            return await asyncio.shield(accepting)
        except asyncio.CancelledError:
            accepting.add_done_callback(self._unwanted)
            raise

    def events(self, job: str) -> Listener:
        """What happens to a job from now on, until it is over."""
        return self._studio.events(job)

    async def finished(self, job: str) -> Job:
        """The job when it is over. Closed where this service ends first: the next one will draw it."""
        async for event in self.events(job):
            if isinstance(event, Over) and not event.state.over:
                raise Closed
        found = await self.job(job)
        assert found is not None, job
        return found

    async def job(self, job: str) -> Job | None:
        return await asyncio.to_thread(self.ledger.get, job)

    async def jobs(self, key: Key | None, *, limit: int, before: str | None = None) -> list[Job]:
        """The newest of a key, newest first; for the next page those before the job `before`."""
        return await asyncio.to_thread(self.ledger.of_key, None if key is None else key.id, limit, before)

    async def cancel(self, job: str) -> State:
        """What it is now: cancelled, unless it was over. Its pictures take no step after the one being done. KeyError
        if there is no such job."""
        await self._studio.cancel(job)
        return await asyncio.to_thread(self.ledger.cancel, job)

    async def picture(self, digest: str) -> bytes | None:
        """The PNG file of this SHA-256, if it is still there."""
        return await asyncio.to_thread(self._pictures.get, digest)

    @property
    def standing(self) -> Standing:
        return self._studio.state()

    @property
    def draining(self) -> bool:
        """Whether it is about to stop, and accepts no more."""
        return self._draining

    @property
    def ready(self) -> bool:
        """Whether a picture of the usual model would be begun at once."""
        usual = self.catalogue.default.name
        return not self._draining and any(one.ready for one in self.standing.workers if one.model == usual)

    async def drain(self, grace: float) -> None:
        """Accept no more; finish within `grace` seconds what was begun. The rest is for the next service."""
        self._draining = True
        if self._tidying is not None:
            self._tidying.cancel()
        await self._studio.drain(grace)
        with contextlib.suppress(Unavailable):
            await self._books.settle()

    # -- accepting -----------------------------------------------------------------------------------

    async def _accept(
        self, order: Order, key: Key | None, image: bytes | None, mask: bytes | None, idempotency: Idempotency | None
    ) -> Job:
        owner = None if key is None else key.id
        if idempotency is not None:
            earlier = await asyncio.to_thread(self.ledger.repeated, key=owner, idempotency=idempotency)
            if earlier is not None:
                return earlier
        self._studio.check(order.count + self._coming)
        self._coming += order.count
        try:
            await self._spend(key, order.count)
            order = await asyncio.to_thread(self._kept, order, image, mask)
            deadline = time.time() + self._terms.waiting
            job, new = await asyncio.to_thread(
                self.ledger.accept, order, key=owner, deadline=deadline, idempotency=idempotency
            )
        finally:
            self._coming -= order.count
        if new:
            prompts.info("accepted", extra={"about": {"job": job.id, "prompt": order.prompt}})
            await self._studio.submit(job, image=image, mask=mask)
        return job

    async def _spend(self, key: Key | None, pictures: int) -> None:
        if key is not None:
            allowance = await asyncio.to_thread(self.ledger.keys.spend, key.id, pictures, time.time())
            if not allowance.allowed:
                raise Spent(allowance.retry_after)

    def _kept(self, order: Order, image: bytes | None, mask: bytes | None) -> Order:
        """The order with the names under which its pictures are kept."""
        check(image is not None or mask is None, "a mask needs its image: give the image too")
        return replace(
            order, image=None if image is None else self._pictures.put(image),
            mask=None if mask is None else self._pictures.put(mask),
        )  # fmt: skip

    def _unwanted(self, accepting: asyncio.Task[Job]) -> None:
        if not accepting.cancelled() and accepting.exception() is None:
            asyncio.ensure_future(self.cancel(accepting.result().id))  # noqa: RUF006  (held by what it waits for)

    # -- beginning, tidying --------------------------------------------------------------------------

    def _load(self, model: str) -> Load:
        found = self.catalogue[model]
        return Load(
            model=str(found.folder), precision=self._terms.precision, compile=self._terms.compile,
            together=self._terms.together,
        )  # fmt: skip

    async def _resume(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if job.order.model not in self.catalogue:
                await self._books.ended(job, None, State.FAILED, f"{job.order.model} is served no longer")
                continue
            files = [await self.picture(name) for name in (job.order.image, job.order.mask) if name is not None]
            if None in files:
                await self._books.ended(job, None, State.FAILED, GONE)
                continue
            image, mask = (*files, None, None)[:2]
            await self._studio.submit(job, image=image, mask=mask)

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDYING)
            try:
                await self._books.settle()
                await asyncio.to_thread(self._sweep, time.time())
            except Unavailable:
                log.exception("what is old could not be tidied away now")

    def _sweep(self, now: float) -> None:
        self.ledger.forget(now - self._terms.keeping)
        self._pictures.sweep(now, self.ledger.pinned())
