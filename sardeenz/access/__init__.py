"""Who may do what: signing in with a session, and the rights that sessions and keys have."""
