"""The term of the literature for each fault, as traces and documents name it.

Cristian, "Understanding Fault-Tolerant Distributed Systems" (CACM 1991): omission, timing, response (value and state
transition) and crash failures; of crashes amnesia, partial amnesia, pause and halting.  Schlichting and Schneider,
"Fail-Stop Processors" (TOCS 1983).  Hadzilacos and Toueg 1994: send and receive omission, arbitrary.  Where what fails is
not a process, the term says what it is.
"""

from phalanx.sim import failures, faults

_TERMS: dict[type[faults.Fault], str] = {
    failures.FailStop: "fail-stop",
    faults.CrashInWrite: "partial-amnesia crash",
    faults.CrashAll: "partial-amnesia crash of all",
    faults.DiskLost: "amnesia crash",
    faults.Pause: "timing failure (pause)",
    faults.Partition: "omission failure (links)",
    faults.OneWay: "omission failure (links)",
    faults.Ring: "omission failure (links)",
    faults.Flap: "omission failure (links)",
    faults.Loss: "omission failure (links)",
    faults.Reset: "omission failure (connection)",
    faults.SlowLink: "timing failure (links)",
    faults.ClockOffset: "timing failure (clock offset)",
    faults.ClockRate: "timing failure (clock drift)",
    faults.SlowDisk: "timing failure (disk)",
    faults.BitRot: "response failure (value, disk)",
    faults.StrayWrite: "response failure (state transition, disk)",
    faults.DiskError: "fail-stop (disk)",
    faults.LostSync: "omission failure (disk)",
    faults.FullDisk: "omission failure (disk)",
    failures.SendOmission: "send omission",
    failures.ReceiveOmission: "receive omission",
    failures.SendOverflow: "send omission (queue overflow)",
    failures.ReceiveOverflow: "receive omission (buffer overflow)",
    failures.SlowProcess: "timing failure (slow process)",
    failures.ValueFailure: "response failure (value)",
    failures.StateTransitionFailure: "response failure (state transition)",
    failures.Equivocation: "arbitrary failure (equivocation)",
    failures.Forgery: "arbitrary failure (forgery)",
    failures.Replay: "arbitrary failure (replay)",
    failures.Silence: "arbitrary failure (silence)",
    failures.Collusion: "arbitrary failure (collusion)",
}


def term(fault: faults.Fault) -> str:
    """The class of failure that the fault is."""
    if isinstance(fault, faults.Crash):
        return "halting crash" if fault.for_good else "partial-amnesia crash"
    return _TERMS[type(fault)]
