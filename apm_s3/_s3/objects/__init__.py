"""The verbs for objects: put, get, list, copy, delete, as a whole or in parts."""
