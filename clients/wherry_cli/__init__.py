"""The wherry command: skopeo's commands as requests to a wherry server."""
