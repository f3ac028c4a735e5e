"""The thinking ledger: what Claude thought, kept for callers whose dialect has no place for it.

A chat client replays the text and the tool calls of an answer; the signed blocks of thinking before them it
flattens or drops. Newer models go on better with them, older ones only think within a tool loop when they get
them back, and the API takes them byte for byte, in order and behind the very prefix that they were written
for, or not at all (400). So the blocks of every turn that called tools are kept under (session, tool-call
id) with a digest of that prefix, and put back where both fit: ``ledger``. What fits nowhere is left out;
nothing is ever made up.
"""
