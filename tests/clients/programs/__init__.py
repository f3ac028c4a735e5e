"""Programs as users of the SDKs write them: a loop of asking and running two tools, then the answer.

Each reads ``GATEWAY_URL``, ``GATEWAY_API_KEY``, ``MODEL`` and ``PROMPT``, and prints the answer's text. The
ones in Python run with their own environment's interpreter, where nothing of this project can be imported.
"""
