"""Phalanx: fault-tolerant process groups for Python."""

if not __debug__:
    raise ImportError(
        "phalanx refuses to run without assertions (python -O, PYTHONOPTIMIZE): they guard its invariants"
    )
