"""The ledger: what was accepted, what became of it, and who may ask. Written down before anybody is told.

database.py    transactions, one version of the tables, one server at a time, the machine's faults
sqlite.py, postgresql.py    the two places where it can be kept
tables.py      what is kept
ledger.py      jobs;  rows.py: a job out of its rows;  repeats.py: a request that comes twice
history.py     what there was of late
keys.py        API keys;  allowance.py: how much each may ask for
"""

from limner.serve.faults import Unavailable
from limner.serve.ledger.allowance import Allowance
from limner.serve.ledger.history import History
from limner.serve.ledger.keys import Key, Keys
from limner.serve.ledger.ledger import Ledger
from limner.serve.ledger.repeats import Idempotency, Reused

__all__ = ["Allowance", "History", "Idempotency", "Key", "Keys", "Ledger", "Reused", "Unavailable"]
