"""Assembly: from a settings file to a running service. The only package that sees all the others."""
