"""One stream dialect for every client that speaks RESP: commands are built and raw replies decoded here, once."""
