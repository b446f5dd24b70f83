"""The command line: the only place (beside the web) that prints. One verb, one file, one function."""
