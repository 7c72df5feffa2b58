"""How fast records are written: beside Papyra's own backend, beside the server's own benchmark, under an actor system.

Run it with ``python -m benchmarks``. It judges nothing but its own bars, and never fails for a slow machine.
"""
