"""Bytes: the one frame format of sockets and files, and the codec of typed messages."""
