"""Turns the counters of the broker into the $SYS tree and log lines. The broker counts; stats publishes."""
