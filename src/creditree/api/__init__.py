"""The Python door: procedures as functions, with the command line's meaning. ``import creditree`` has all of them."""
