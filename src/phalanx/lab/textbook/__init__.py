"""Protocols of the textbook as machines of the one contract: what the experiments execute, beside the product's own.

rounds      lock step: the synchronous model
treason     every behaviour of traitors, within what the model lets them do
oral        OM(m), Byzantine generals with oral messages
signed      SM(m), Byzantine generals with signed messages
signatures  Ed25519
vectors     the four-phase algorithm of the lecture slides
"""
