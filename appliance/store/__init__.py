"""The local database, which is also the only queue: whoever consumes something is a cursor over one of its logs."""
