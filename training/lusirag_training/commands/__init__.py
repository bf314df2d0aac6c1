"""The commands of `lusirag train`, one module a command; what is heavy is imported inside them."""
