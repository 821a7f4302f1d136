"""wherry measured against skopeo: see README.md."""
