"""The templates that ntfy's users write: a bounded part of Go's ``text/template``."""
