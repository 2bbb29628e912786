"""The whole system on one machine: tools, agents, engine, and the commands that bring it up and down."""
