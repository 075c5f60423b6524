"""A reliable FIFO multicast channel over datagrams: pure machines, which `runtime.datagrams` drives over UDP.

Beside the process groups, not below them: see `phalanx.multicast.channel` for what it promises and what not.
"""
