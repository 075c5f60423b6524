"""The public interface: process groups, replicated objects, clients.  Everything here is re-exported by `phalanx`."""
