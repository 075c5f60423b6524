"""A soak test of the store on real processes: every operation, under faults, for as long as wanted, and then judged."""
