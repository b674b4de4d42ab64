"""What happens in the service, told to whoever counts it. By default nobody does."""

from __future__ import annotations

from limner.serve.orders import Job, State


class Watch:
    """Each of these is called as it happens, and must be quick."""

    def began(self, job: Job) -> None:
        """Its first picture is being drawn."""

    def drew(self, job: Job) -> None:
        """One of its pictures is kept."""

    def ended(self, job: Job, state: State) -> None: ...

    def staged(self, stage: str, seconds: float) -> None:
        """A part of the work: "text", "denoise", "decode" or "encode"."""

    def rejected(self, code: str) -> None:
        """A request was not done, for a reason in `problems`' words."""
