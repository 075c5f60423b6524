"""The simulator: machines of the contract in a virtual world, where a run is a function of its plan alone.

`world` runs the machines, `network` is between them, `faults` are data that `storm` carries out, `swarm` draws another
adversary for every seed, `run` executes one plan, `shrink` makes a failing plan small, `campaign` runs many seeds.

Sources: FoundationDB (Zhou et al. 2021, section 4); Groce et al., "Swarm Testing" (2012); Zeller and Hildebrandt,
"Simplifying and Isolating Failure-Inducing Input" (2002).
"""
