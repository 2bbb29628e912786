"""What becomes of requests while a model is not warm: the rule, the time that is left, the queue and the waiting room."""
