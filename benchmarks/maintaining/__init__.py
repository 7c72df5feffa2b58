"""How long reading the newest, scanning and compacting take on a stream of a million entries, and in how much memory.

It imports nothing: of the program whose memory is measured, which is in here, only its own imports are to count.
"""
