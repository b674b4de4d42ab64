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
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Self
from weakref import WeakValueDictionary

from limner.core import check
from limner.serve.bookkeeper import Bookkeeper
from limner.serve.catalogue import Catalogue
from limner.serve.faults import Closed, Spent, Unavailable
from limner.serve.ledger import Idempotency, Key, Ledger
from limner.serve.orders import Job, Order, State
from limner.serve.pictures import Pictures
from limner.serve.studio.events import Listener, Over
from limner.serve.studio.limits import Limits
from limner.serve.studio.messages import Load
from limner.serve.studio.standing import Standing
from limner.serve.studio.studio import Studio
from limner.serve.tasks import Tasks
from limner.serve.watching import Watch

TIDYING = 30.0  # seconds between two tidyings
LAST = 5.0  # seconds for what is being accepted, at the end

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
        self._turns: WeakValueDictionary[tuple[int | None, str], asyncio.Lock] = WeakValueDictionary()
        self._tasks = Tasks()
        self._tidying: asyncio.Task[None] | None = None
        self._draining = False

    async def __aenter__(self) -> Self:
        await self._studio.__aenter__()
        try:
            for job in await asyncio.to_thread(self.ledger.recover):
                await self._resume(job)
        except BaseException:
            await self.drain(0.0)
            raise
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

        Who is cancelled while it waits for this has asked for nothing, but with an idempotency means to come again.
        """
        self.catalogue.find(order.model).check_knobs(order.knobs)
        check(image is not None or mask is None, "a mask needs its image: give the image too")
        accepting = self._tasks.go(self._taken(order, key, image, mask, idempotency))
        try:
            return await asyncio.shield(accepting)
        except asyncio.CancelledError:
            if idempotency is None:
                self._tasks.go(self._forsake(accepting))
            raise

    def events(self, job: str) -> Listener:
        """What happens to a job from now on, until it is over."""
        return self._studio.events(job)

    async def finished(self, job: str) -> Job:
        """The job when it is over. Closed where this service ends first: the next one will draw it. KeyError if there
        is no such job."""
        over = None
        async for event in self.events(job):
            over = event if isinstance(event, Over) else None
        found = await self.job(job)
        if found is None:
            raise KeyError(job)
        if found.state.over:
            return found
        if over is None or not over.state.over:
            raise Closed
        return replace(found, state=over.state, error=over.error, finished=time.time())  # the ledger is told later

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
        await self._tasks.end(LAST)
        with contextlib.suppress(Unavailable):
            await self._books.settle()

    # -- accepting -----------------------------------------------------------------------------------

    async def _taken(
        self, order: Order, key: Key | None, image: bytes | None, mask: bytes | None, idempotency: Idempotency | None
    ) -> Job:
        """In the studio when this is done."""
        async with self._turn(key, idempotency):
            job = await self._repeated(key, idempotency) or await self._accepted(order, key, image, mask, idempotency)
            await self._undertake(job)
        return job

    async def _repeated(self, key: Key | None, idempotency: Idempotency | None) -> Job | None:
        if idempotency is None:
            return None
        owner = None if key is None else key.id
        return await asyncio.to_thread(self.ledger.repeated, key=owner, idempotency=idempotency)

    async def _accepted(
        self, order: Order, key: Key | None, image: bytes | None, mask: bytes | None, idempotency: Idempotency | None
    ) -> Job:
        self._studio.check(order.count + self._coming)
        self._coming += order.count
        try:
            await self._spend(key, order.count)
            order = await asyncio.to_thread(self._kept, order, image, mask)
            job, _ = await asyncio.to_thread(
                self.ledger.accept, order, key=None if key is None else key.id,
                deadline=time.time() + self._terms.waiting, idempotency=idempotency,
            )  # fmt: skip
        finally:
            self._coming -= order.count
        prompts.info("accepted", extra={"about": {"job": job.id, "prompt": order.prompt}})
        return job

    async def _undertake(self, job: Job) -> None:
        """Draw it, unless it is over or is being drawn. One that was accepted, though its sender was told Unavailable,
        comes to the studio when it comes again."""
        if not (job.state.over or self._studio.knows(job.id)):
            await self._studio.submit(job)

    async def _spend(self, key: Key | None, pictures: int) -> None:
        if key is not None:
            allowance = await asyncio.to_thread(self.ledger.keys.spend, key.id, pictures, time.time())
            if not allowance.allowed:
                raise Spent(allowance.retry_after)

    def _kept(self, order: Order, image: bytes | None, mask: bytes | None) -> Order:
        """The order with the names under which its pictures are kept."""
        return replace(
            order, image=None if image is None else self._pictures.put(image),
            mask=None if mask is None else self._pictures.put(mask),
        )  # fmt: skip

    def _turn(self, key: Key | None, idempotency: Idempotency | None) -> AbstractAsyncContextManager[object]:
        """The same request at once is asked once: the second finds the job of the first, and spends nothing."""
        if idempotency is None:
            return contextlib.nullcontext()
        return self._turns.setdefault((None if key is None else key.id, idempotency.key), asyncio.Lock())

    async def _forsake(self, accepting: asyncio.Task[Job]) -> None:
        """Nobody waits for it any more."""
        await asyncio.wait({accepting})
        if not accepting.cancelled() and accepting.exception() is None:
            with contextlib.suppress(Unavailable):  # the studio has let go of it, and the ledger is told later
                await self.cancel(accepting.result().id)

    # -- beginning, tidying --------------------------------------------------------------------------

    def _load(self, model: str) -> Load:
        found = self.catalogue[model]
        return Load(
            model=str(found.folder), precision=self._terms.precision, compile=self._terms.compile,
            together=self._terms.together,
        )  # fmt: skip

    async def _resume(self, job: Job) -> None:
        if job.order.model in self.catalogue:
            await self._studio.submit(job)
        else:
            await self._books.ended(job, None, State.FAILED, f"{job.order.model} is served no longer")

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDYING)
            try:
                await self._books.settle()
                await asyncio.to_thread(self._sweep, time.time())
            except Exception:
                log.exception("what is old could not be tidied away now")

    def _sweep(self, now: float) -> None:
        self.ledger.expire(now)  # what was accepted, though its sender was told Unavailable and never came again
        self.ledger.forget(now - self._terms.keeping)
        self._pictures.sweep(now, self.ledger.pinned())
