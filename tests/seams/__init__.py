"""Where tests reach inside the package: its private modules are named only here, in a file for each area.

A test uses public names wherever they say what it means. What needs the inside (codecs, connections, mistakes to plant,
limits to lower) goes through a function or name of one of these modules, so that the package can be rearranged by
changing the modules here.
"""
