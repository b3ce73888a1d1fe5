"""What callers change: checks of arguments and contents, uploads, and changes of environments."""
