"""The typed client of the wherry proxy."""
