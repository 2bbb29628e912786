"""How a router runs as processes: its public socket, its workers, and the order of leaving."""
