"""A pilot on somebody's own problems: is the data fit for it, can learning work, and was it worth it?"""
