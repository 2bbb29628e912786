"""Datadog as a second source of signals: one batched question every half minute, beside the loop and never in its way.

queries.py   what is asked, as data
question.py  the request's body and the time it asks about
answer.py    the response's body as series
buckets.py   one series as a signal; what cannot be true is unknown
reading.py   all series of a model as its signals
client.py    HTTP
reader.py    when to ask, and what is known meanwhile
"""
