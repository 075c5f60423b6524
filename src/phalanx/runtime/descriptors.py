"""How many files and sockets this process may have open: each client of a node is one, and systems often allow 1,024."""

import resource

from phalanx.errors import ConfigurationError

RESERVED = 256
"""For peers (two each while both dial), logs, strangers that are turned away, and what else the program has open."""

NEEDED = 64
"""With fewer a node or a client fails somewhere: loop, listener, files, links to peers."""


def check_limit() -> None:
    """Raises ConfigurationError if this process may open too few to run anything."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < NEEDED:
        raise ConfigurationError(
            f"this process may have {soft} files open, and needs {NEEDED} at least; nothing was begun: raise `ulimit -n`"
        )


def raise_limit() -> None:
    """To what the system allows this process.  Only for a program that is a node and nothing else: a limit is every
    library's in the process, and one that still uses `select` cannot go beyond 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def room_for_clients(wanted: int) -> int:
    """As many as wanted, or as the present limit leaves room for; at least one."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - RESERVED))
