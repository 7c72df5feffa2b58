"""How fast records are written, read and tidied up: beside Papyra's backend, the server's own benchmark, and others.

Run it with ``python -m benchmarks``. It judges nothing but its own bars, and never fails for a slow machine.
"""
