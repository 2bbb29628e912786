"""What a router says of itself: health, gauges, changes worth a log line, and the sum over its workers."""
