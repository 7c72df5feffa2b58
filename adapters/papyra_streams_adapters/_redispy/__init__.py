"""What the drivers for redis-py and valkey-py share: valkey-py is a fork, and its connections are still the same."""
