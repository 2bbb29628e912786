"""The words that router and autoscaler share, the description of a fleet, and the command line that runs one."""
