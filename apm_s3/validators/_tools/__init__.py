"""The rules of each tool, in a package of its name, and the types that several of them share."""
