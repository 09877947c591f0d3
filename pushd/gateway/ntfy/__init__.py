"""ntfy's surface: pushing, reading, files, templates, accounts."""
