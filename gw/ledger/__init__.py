"""Usage and money: from the end of a request to a row in the database, with nothing lost on the way.

A worker writes each request into its *journal* (a file that outlives it): what it is about to ask before
it asks, what came of it when it is over. The *recorder*, one for each machine, reads the journals and writes
the database. So a database that is away costs nobody an answer, and a worker that is killed loses no row.
"""
