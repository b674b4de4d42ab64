"""What may go wrong in the service that is nobody's fault who asked."""

from __future__ import annotations


class Unavailable(Exception):  # noqa: N818  (it is a state that passes)
    """The machine is at fault, and one line says how: a database that is locked or gone, a disk that is full, say.

    It may be over the next time, without a restart. Whether what was asked has been written is not known: a connection
    can break between the writing and the answer.
    """
