"""What the rules of all tools stand on: the state of a validation, the files of a bundle, and how problems are told."""
