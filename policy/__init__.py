"""Pure decisions: who may reach which target, as whom, doing what; and who may replay."""
