"""The coordination store: versioned keys with their history, transactions, leases.  A plain class, `kv.KV`."""
