"""A node: the group machine, the replicas it hosts and their clients' counter, put together as one machine."""
