"""Settings: mosquitto.conf syntax in, frozen dataclasses out. Imports nothing else of ours."""
