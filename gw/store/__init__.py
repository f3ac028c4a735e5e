"""What outlives the process: projects, keys, usage, budgets and the audit log, in SQLite or PostgreSQL.

Nothing here is imported on the request path of a gateway with one key: SQLAlchemy takes half a second
and 40 MB to load.
"""
