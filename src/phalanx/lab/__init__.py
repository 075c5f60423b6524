"""Scenarios for the simulator: which machines are run, under which load, and what must hold."""
