"""The HTTP gateway: push with curl, compatible with ntfy."""
