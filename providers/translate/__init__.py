"""Translation between dialects, as pure functions and state machines without I/O.

A module is named ``client_upstream``: ``chat_anthropic`` turns a chat-completions request into a
Messages request, ``anthropic_chat`` turns the Messages event stream into chat-completion chunks.
"""
