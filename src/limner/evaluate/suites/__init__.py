"""Whole examinations of a model: what is asked of it, what it draws, and the report. See docs/evaluation.md."""
