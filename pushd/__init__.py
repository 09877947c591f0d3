"""pushd: an MQTT broker and an HTTP push gateway in one Twisted process."""

__version__ = "0.1.0"
