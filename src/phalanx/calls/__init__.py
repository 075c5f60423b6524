"""Group calls: procedures that are called once and executed by every host of a process group (a troupe)."""
