"""Read, record, write: the corridor every session passes."""
