"""How a database comes from one version of the schema to the next: Alembic's revisions.

A change of ``gw/store/schema.py`` is one more file in ``versions/``, numbered onwards, and its number in
``gw.store.migrate.HEAD``. A revision spells its tables out, for the schema goes on changing. What a
revision leaves behind and what the schema says are compared in ``tests/store/test_migrate.py``.
"""
