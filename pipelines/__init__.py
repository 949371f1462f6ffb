"""What runs: the command line, one module a command."""
