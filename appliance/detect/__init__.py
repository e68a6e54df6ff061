"""One machine's windows → how strange each is, and why."""
