"""Subscriptions: the loop around a consumer group that a service can live on."""
