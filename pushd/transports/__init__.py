"""Bytes from and to the network: TCP and TLS, back-pressure, keep-alive, and nothing else."""
