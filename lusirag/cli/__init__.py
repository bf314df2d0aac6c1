"""The command line, `lusirag ...`: one module a group of commands; what is heavy is imported inside the commands."""
