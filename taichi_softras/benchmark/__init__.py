"""How fast it is: cases, parity first, times beside peers, the machine's limits, a report."""
