"""OpenAI's images API (its specification of 2026-08-21), as far as there is something here to answer with.

asked.py        what may be asked;  reading.py: forms and data URLs;  ordering.py: from there to an order
answers.py      what is answered;  streaming.py: pictures as they come
routes.py       the routes

Nothing is fetched: an image comes as a file or as a data URL. `usage` is left out, since nothing is counted in tokens.
"""

from limner.serve.openai.answers import shape
from limner.serve.openai.routes import router

PREFIX = "/v1/"

__all__ = ["PREFIX", "router", "shape"]
