"""Recoveries and compactions that are killed in processes of their own, or with their server, and what must hold."""
