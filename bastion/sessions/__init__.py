"""Admission: nothing connects without a policy decision and an open recording."""
