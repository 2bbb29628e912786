"""One request on its way: from the caller's connection over its attempts to the end of its answer."""
