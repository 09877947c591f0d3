"""Who are you, and may you: password file, ACL file, TLS identity, and the chain that asks them in order."""
