"""The commands of `pushctl`."""
