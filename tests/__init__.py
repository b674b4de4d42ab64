"""A package, so that one of the same name among the peers is not taken for it."""
