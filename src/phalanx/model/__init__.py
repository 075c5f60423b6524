"""Values that every layer shares: time, identity, views, the machine contract, events, histories, errors."""
