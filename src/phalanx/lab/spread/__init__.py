"""A campaign spread over many machines, by Dask: who works is its affair, what is worked on is plain data.

`work` is what is sent and answered, `worker` what Dask's workers run, `crew` who may work, and `driver` a
`sim.workers.Workers` made of them.  Dask (the library `distributed`) is needed, and imported, only by the last three:
importing `driver` without it raises ImportError.
"""
