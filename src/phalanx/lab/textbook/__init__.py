"""Protocols of the textbook as machines of the one contract: what the experiments execute, beside the product's own.

rounds      lock step: the synchronous model
treason     every behaviour of traitors, within what the model lets them do
oral        OM(m), Byzantine generals with oral messages
signed      SM(m), Byzantine generals with signed messages
signatures  Ed25519
traitors    what traitors may send, for each algorithm
vectors     the four-phase algorithm of the lecture slides
redundancy  modules and voters, and components that fail
printing    the print server, which crashes between its actions
calls       remote procedure calls, with remedies against losses and crashes
interposed  omission failures, one message at a time, and processes that are cut off
orphans     computations whose client has crashed, and four ways to be rid of them
armies      two armies: handshakes, copies, random keys
detectors   fixed timeouts, the product's, phi accrual, and a monitor of all
remedies    one call with each remedy, under given fates; the product's sessions too
consensus   Chandra and Toueg's, with a rotating coordinator and an unreliable failure detector
adversary   schedulers of an asynchronous system: that of FLP, all there are, and one by chance
watchful    consensus with timeouts of its own, in the simulated network
optimistic  replicas that never wait, and merge
crashing    a client that crashes while servers compute for it
nested      computations on servers that call servers, as group calls of the product
troupes     group calls of the product between nodes that fail and lie
aging       a troupe of the product whose hosts' states spoil with age, restarted or not
explosion   one group call of a large troupe, letter by letter
flushing    a process group of the product, a member of which fails while it multicasts
"""
