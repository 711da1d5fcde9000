"""Memory and work of a training run, predicted from its configuration before anything is loaded."""
