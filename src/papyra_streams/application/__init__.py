"""What Papyra and its users ask for, in terms of the ports."""
