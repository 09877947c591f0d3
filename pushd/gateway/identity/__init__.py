"""Who is calling, what for, and how often."""
