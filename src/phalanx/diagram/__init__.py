"""Space-time diagrams: from a chronicle of what happened (`chronicle`) to a drawing as data (`layout`, `model`), and
that as SVG for print (`svg`) or as one page to explore (`page`).  docs/diagram.md says how to read one.

After Lamport, "Time, Clocks, and the Ordering of Events in a Distributed System" (1978): a line for each process, time
runs along it, and an arrow for each message.
"""
