"""What a report shows of runs: read from their directories, and computed here."""
