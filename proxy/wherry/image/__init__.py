"""Images, opened: from a name over the policy to a chosen instance, its manifest and its configuration."""
