"""`creditree pilot`: from a table of problems to a decision, stage by stage, and on from where it was stopped."""
