"""How a configuration becomes visible: documents, blobs, the commit, and reading them back."""
