"""The command line: parses, calls what is below, prints. Nothing heavy is imported before a command runs."""
