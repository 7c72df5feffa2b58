"""Workers of a consumer group in processes of their own, the ledgers they keep, and the account of every entry."""
