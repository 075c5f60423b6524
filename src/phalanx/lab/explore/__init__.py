"""Exhaustive exploration of the real group machine: three members, few messages, few faults, every interleaving."""
