"""wherry's tests: one folder for each layer, `wire/` for transcripts, `peers/` for real software."""
