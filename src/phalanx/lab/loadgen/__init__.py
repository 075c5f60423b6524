"""A load generator for the store that does as little as possible for each operation, so that the nodes are measured."""
