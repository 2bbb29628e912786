"""External providers: somebody else's OpenAI-compatible endpoints as links of a route's chain.

In the data plane a provider is one `Replica` (router.replicas) whose `remote` says what is different on the far side, so that selection,
breaker, retry and the guard against truncated answers are those of any replica. Only an attempt at one pays for the difference.
A request goes to a provider only where its route's chain says so.
"""
