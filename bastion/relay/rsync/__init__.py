"""rsync's protocol, read as it passes, and what it does to files.

Facts of the protocol are from openrsync's rsync(5) and from watching rsync 3.2.7 and 3.5.0 talk in protocols 27 to 32.
"""
