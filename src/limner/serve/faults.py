"""Why the service does not do now what was asked, though nothing is wrong with it."""

from __future__ import annotations


class Unavailable(Exception):  # noqa: N818  (it is a state that passes)
    """The machine is at fault, and one line says how: a database that is locked or gone, a disk that is full, say.

    It may be over the next time, without a restart. Whether what was asked has been written is not known: a connection
    can break between the writing and the answer. The line names places, and is for the log.
    """


class Full(Exception):  # noqa: N818
    """There is no room for so many pictures now; `retry_after` is in how many whole seconds there should be."""

    def __init__(self, waiting: int, retry_after: int) -> None:
        super().__init__(f"{waiting} pictures are waiting, and there is no room for more: try again in {retry_after} s")
        self.waiting, self.retry_after = waiting, retry_after


class Closed(Exception):  # noqa: N818
    """It is about to stop, and takes no more."""

    def __init__(self) -> None:
        super().__init__("the service is about to stop: try again in a while")


class Spent(Exception):  # noqa: N818
    """What the key may ask for is spent for `retry_after` whole seconds; None: so many at once it never may."""

    def __init__(self, retry_after: int | None) -> None:
        never = "this key may never ask for so many pictures at once: ask for fewer"
        soon = f"this key has asked for as many pictures as it may: try again in {retry_after} s"
        super().__init__(never if retry_after is None else soon)
        self.retry_after = retry_after
