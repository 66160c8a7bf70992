"""Who signs certificates: a process with the issuing key, a ledger of names, and rules that nobody can ask away."""
