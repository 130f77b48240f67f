"""Write, seal, recover, index, replay and verify session recordings."""
