"""The release protocol: documents, blobs, the commit, and reading them back."""
