"""How fast records are written and read: beside Papyra's own backend, beside the server's own benchmark, and others.

Run it with ``python -m benchmarks``. It judges nothing but its own bars, and never fails for a slow machine.
"""
