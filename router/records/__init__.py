"""What is kept of a request when it is over: access log, usage log, spans."""
