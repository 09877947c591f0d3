"""Templates that come with pushd, for ``X-Template: NAME``; see `pushd.gateway.ntfy.templates`."""
