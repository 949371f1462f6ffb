"""The stream on Prism over the loopback: `python -m tests.benchmarks.stream latency|throughput|soak|chaos`.

Each figure is printed with its bar and the machine's load beside it; the loopback, the sender and the stream share the
machine, so the figures are those of the whole. Times of commits and of events are read from the Delta log and the rows.
"""
