"""The scaling rules of fleet.toml, one module per kind: a rule and a view in, a vote out.

    target      demand / (capacity of a replica x target)
    threshold   a step up above a bound, down below another
    schedule    a floor at certain times, warm when it begins
    spare       demand and so many idle replicas
    arrivals    new sessions, which bring load before they show in it
    forecast    demand when a replica started now is warm
    idle        replicas.min = 0: the last one goes after a time without requests, the next request wakes it
    log_volume  a large and a small model by how fast the log grows; the only rule about two models

Of all votes the largest wins (`ballot`). Pure, all of it.
"""
