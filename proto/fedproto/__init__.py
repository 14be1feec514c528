"""What every process of the product agrees on: wire, limits, errors, identifiers and logs."""
