"""From ordered deliveries to a service: replicated objects, sessions, reads, snapshots, audits, the client machine."""
