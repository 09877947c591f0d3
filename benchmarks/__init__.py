"""How fast pushd is beside another broker, on this machine, in one run. See README.md beside this file."""
