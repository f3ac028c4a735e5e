"""A provider that needs no key and no network: it answers by rule, in Claude's own shapes.

``replies`` plans an answer to a Messages request, ``events`` turns the plan into the API's stream,
``models`` lists the models that it plays. The demo uses them in-process; the simulated upstream in
``perf/simulated`` serves the same answers over a socket.
"""
