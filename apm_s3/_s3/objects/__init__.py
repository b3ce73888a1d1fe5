"""The verbs about objects: put, get, list, copy, delete, in one piece or in parts."""
