"""One module a kind of target: how the onward session is opened."""
