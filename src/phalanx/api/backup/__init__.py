"""Backups of a store: taken at one revision while writes go on, and loaded into an empty store.

format     the file: records, what may follow what, how it is written and checked
taking     from a store into a file
restoring  from a file into a store
"""
