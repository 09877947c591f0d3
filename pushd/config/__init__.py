"""Settings: mosquitto.conf syntax in, frozen dataclasses out. Imports nothing of ours; only `pushd.service` imports it."""
