"""Deterministic things to replicate.  They are plain classes: nothing here knows that it is replicated."""
