"""From an operator's labels to a head: which windows teach what, and what to make of them."""
