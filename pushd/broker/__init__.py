"""What a broker is: sessions, subscriptions, routing, retained messages.

No socket, file, reactor or clock of its own.
"""
