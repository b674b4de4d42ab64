"""The page on which people vote, and the requests that it makes."""

from limner.serve.arena.app import application
from limner.serve.listening import Address, serve

__all__ = ["Address", "application", "serve"]
