"""The term of the literature for each fault, as traces and documents name it.

Cristian, "Understanding Fault-Tolerant Distributed Systems" (CACM 1991): omission, timing, response (value and state
transition) and crash failures; of crashes amnesia, partial amnesia, pause and halting.  Schlichting and Schneider,
"Fail-Stop Processors" (TOCS 1983).  Hadzilacos and Toueg 1994: send and receive omission, arbitrary.  Where what fails is
not a process, the term says what it is.
"""

from phalanx.sim.failures import (
    Collusion,
    Equivocation,
    FailStop,
    Forgery,
    ReceiveOmission,
    ReceiveOverflow,
    Replay,
    SendOmission,
    SendOverflow,
    Silence,
    SlowProcess,
    StateTransitionFailure,
    ValueFailure,
)
from phalanx.sim.faults import (
    BitRot,
    ClockOffset,
    ClockRate,
    Crash,
    CrashAll,
    CrashInWrite,
    DiskError,
    DiskLost,
    Fault,
    Flap,
    FullDisk,
    Loss,
    LostSync,
    OneWay,
    Partition,
    Pause,
    Reset,
    Ring,
    SlowDisk,
    SlowLink,
    StrayWrite,
)

_TERMS: dict[type[Fault], str] = {
    FailStop: "fail-stop",
    CrashInWrite: "partial-amnesia crash",
    CrashAll: "partial-amnesia crash of all",
    DiskLost: "amnesia crash",
    Pause: "timing failure (pause)",
    Partition: "omission failure (links)",
    OneWay: "omission failure (links)",
    Ring: "omission failure (links)",
    Flap: "omission failure (links)",
    Loss: "omission failure (links)",
    Reset: "omission failure (connection)",
    SlowLink: "timing failure (links)",
    ClockOffset: "timing failure (clock offset)",
    ClockRate: "timing failure (clock drift)",
    SlowDisk: "timing failure (disk)",
    BitRot: "response failure (value, disk)",
    StrayWrite: "response failure (state transition, disk)",
    DiskError: "fail-stop (disk)",
    LostSync: "omission failure (disk)",
    FullDisk: "omission failure (disk)",
    SendOmission: "send omission",
    ReceiveOmission: "receive omission",
    SendOverflow: "send omission (queue overflow)",
    ReceiveOverflow: "receive omission (buffer overflow)",
    SlowProcess: "timing failure (slow process)",
    ValueFailure: "response failure (value)",
    StateTransitionFailure: "response failure (state transition)",
    Equivocation: "arbitrary failure (equivocation)",
    Forgery: "arbitrary failure (forgery)",
    Replay: "arbitrary failure (replay)",
    Silence: "arbitrary failure (silence)",
    Collusion: "arbitrary failure (collusion)",
}


def term(fault: Fault) -> str:
    """The class of failure that the fault is."""
    if isinstance(fault, Crash):
        return "halting crash" if fault.for_good else "partial-amnesia crash"
    return _TERMS[type(fault)]
