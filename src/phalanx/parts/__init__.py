"""Passive data structures without messages.  Each has an obviously right twin in its tests."""
