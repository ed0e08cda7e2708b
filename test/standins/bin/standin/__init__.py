"""Stand-ins for the programs that Netlab runs: they keep a pretended host in one JSON file and touch nothing else."""
