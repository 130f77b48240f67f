"""Real programs for tests and the demo: OpenSSH servers, the OpenSSH client, a bastion in a process of its own.

The modules here know how to start a program, to wait until it is really there, and to end it with all that it
started. They know nothing of pytest (tests/conftest.py does) and nothing of the demo (scripts/demo.py does).
"""
