"""The real world: one driver runs a machine on sockets, files and clocks.  Nothing here knows a protocol."""
