"""Virtual synchrony: membership views, multicast in four orders, state transfer (DESIGN sections 4 to 8)."""
