"""The MQTT protocol without I/O: bytes in, packets out, and back. Imports the standard library only."""
