"""Oracles that read histories: linearizability of client histories, and the properties of group histories."""

from phalanx.check.explanation import Explanation
from phalanx.check.linearizability import DEFAULT_BUDGET
from phalanx.check.models import (
    CasRegister,
    FailedCas,
    Kv,
    KvCas,
    MalformedOperation,
    Model,
    MultiRegister,
    Mutex,
    NullRead,
    Register,
)
from phalanx.check.search import Answer
from phalanx.check.table import describe
from phalanx.check.verdict import Verdict, check_linearizable

__all__ = [
    "DEFAULT_BUDGET",
    "Answer",
    "CasRegister",
    "Explanation",
    "FailedCas",
    "Kv",
    "KvCas",
    "MalformedOperation",
    "Model",
    "MultiRegister",
    "Mutex",
    "NullRead",
    "Register",
    "Verdict",
    "check_linearizable",
    "describe",
]
