"""The commit: one conditional write of the reference document, with a certain outcome."""
